#include "engine/missing.h"

#include <algorithm>

#include "engine/resolve.h"
#include "peelfs/error.h"

namespace peelfs {

namespace {

constexpr unsigned kMaxDepth = 4096;  // as resolve()

/// Where bytes come from: also those that are computed from others, one for one.
Extent comes_from(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  const Extent extent = device.map(offset, length);
  if (extent.kind != ExtentKind::computed) return extent;
  return device.computed_from(offset, std::min(length, extent.length));
}

}  // namespace

Presence presence(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  check_range(device, offset, length);
  const BlockDevice* current = &device;
  for (unsigned depth = 0; depth < kMaxDepth; ++depth) {
    Extent extent;
    try {
      extent = comes_from(*current, offset, length);
    } catch (const Error&) {
      const auto* const partly = dynamic_cast<const PartlyMissing*>(current);
      const std::uint64_t gone = partly != nullptr ? partly->missing(offset, length) : 0;
      return gone != 0 ? Presence{true, gone} : Presence{false, length};
    }
    if (extent.length == 0 || extent.length > length) break;
    length = extent.length;
    if (extent.kind != ExtentKind::lower || extent.device == nullptr) break;
    if (extent.offset > extent.device->size() || length > extent.device->size() - extent.offset) {
      break;
    }
    current = extent.device;
    offset = extent.offset;
  }
  return {false, length};
}

}  // namespace peelfs
