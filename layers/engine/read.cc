#include <algorithm>
#include <cstring>

#include "engine/computed.h"
#include "engine/epoch.h"
#include "engine/gather.h"
#include "engine/resolve.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs {

void read(const BlockDevice& device, std::uint64_t offset, MutableBytes out) {
  check_range(device, offset, out.size());
  const Epochs::Request request;
  try {
    Gather gather(Gather::Direction::read);
    while (!out.empty()) {
      const Resolved at = resolve(device, offset, out.size());
      const MutableBytes part = out.first(at.extent.length);
      switch (at.extent.kind) {
        case ExtentKind::host_file:
          gather.add(*at.extent.file, at.extent.offset, part);
          break;
        case ExtentKind::zero:
          std::memset(part.data(), 0, part.size());
          break;
        case ExtentKind::computed:
          read_computed(*at.device, at.offset, part);
          break;
        case ExtentKind::lower:
          break;  // resolve() never answers it
      }
      offset += part.size();
      out = out.subspan(part.size());
    }
    gather.finish();
  } catch (Error& error) {
    error.add_context(device.describe());
    throw;
  }
}

Buffer read_bytes(const BlockDevice& device, std::uint64_t offset, std::size_t length) {
  check_range(device, offset, length);
  Buffer buffer(length);
  read(device, offset, buffer);
  return buffer;
}

Buffer read_up_to(const BlockDevice& device, std::uint64_t offset, std::size_t length) {
  if (offset >= device.size()) return {};
  return read_bytes(device, offset, std::min<std::uint64_t>(length, device.size() - offset));
}

Run block_status(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  const Epochs::Request request;
  const Resolved at = resolve(device, offset, length);
  switch (at.extent.kind) {
    case ExtentKind::zero:
      return {false, at.extent.length};
    case ExtentKind::host_file:
      return at.extent.file->status(at.extent.offset, at.extent.length);
    case ExtentKind::computed:
    case ExtentKind::lower:
      break;
  }
  return {true, at.extent.length};
}

}  // namespace peelfs
