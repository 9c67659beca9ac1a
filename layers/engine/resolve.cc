#include "engine/resolve.h"

#include "peelfs/error.h"

namespace peelfs {

namespace {

/// Deeper stacks than this do not come from the scanner, which caps nesting; it keeps a cycle of
/// devices, which would be a mistake of ours, from hanging a reader.
constexpr unsigned kMaxDepth = 4096;

/// A layer that answers nonsense must not become a wrong byte.
void check_answer(const BlockDevice& device, const Extent& extent, std::uint64_t length) {
  const bool fits = extent.length >= 1 && extent.length <= length;
  const bool inside = extent.kind != ExtentKind::lower ||
                      (extent.device != nullptr && extent.offset <= extent.device->size() &&
                       extent.length <= extent.device->size() - extent.offset);
  if (fits && inside) return;
  throw Error(Fault::damaged, device.describe() + ": its tables point outside of what lies below")
      .found(std::to_string(extent.length) + " bytes at offset " + std::to_string(extent.offset))
      .expected(extent.device != nullptr
                    ? "a place in " + extent.device->describe() + ", which has " +
                          std::to_string(extent.device->size()) + " bytes"
                    : "1 to " + std::to_string(length) + " bytes");
}

/// @param ask map() or map_write(): (device, offset, length) -> Extent
template <typename Ask>
Resolved follow(const BlockDevice& device, std::uint64_t offset, std::uint64_t length,
                const Ask& ask) {
  check_range(device, offset, length);
  const BlockDevice* current = &device;
  try {
    for (unsigned depth = 0; depth < kMaxDepth; ++depth) {
      const Extent extent = ask(*current, offset, length);
      check_answer(*current, extent, length);
      if (extent.kind != ExtentKind::lower) return {extent, current, offset};
      current = extent.device;
      offset = extent.offset;
      length = extent.length;
    }
  } catch (Error& error) {
    error.add_context(current->describe());
    if (current != &device) error.add_context(device.describe());
    throw;
  }
  throw Error(Fault::damaged, device.describe() + ": layers refer to one another without end");
}

}  // namespace

void check_range(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  if (offset <= device.size() && length <= device.size() - offset) return;
  throw Error(Fault::usage, device.describe() + ": access outside of the device")
      .found("bytes " + std::to_string(offset) + " to " + std::to_string(offset + length))
      .expected("a device of " + std::to_string(device.size()) + " bytes");
}

Resolved resolve(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  return follow(device, offset, length,
                [](const BlockDevice& current, std::uint64_t at, std::uint64_t wanted) {
                  return current.map(at, wanted);
                });
}

Resolved resolve_write(const BlockDevice& device, std::uint64_t offset, std::uint64_t length,
                       WriteKind kind) {
  return follow(device, offset, length,
                [kind](const BlockDevice& current, std::uint64_t at, std::uint64_t wanted) {
                  return current.map_write(at, wanted, kind);
                });
}

}  // namespace peelfs
