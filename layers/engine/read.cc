#include <algorithm>
#include <cstring>

#include "engine/gather.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

/// Deeper stacks than this do not come from the scanner, which caps nesting; it keeps a cycle of
/// devices, which would be a mistake of ours, from hanging a reader.
constexpr unsigned max_depth = 4096;

void check_range(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  if (offset <= device.size() && length <= device.size() - offset) return;
  throw Error(Fault::usage, device.describe() + ": access outside of the device")
      .found("bytes " + std::to_string(offset) + " to " + std::to_string(offset + length))
      .expected("a device of " + std::to_string(device.size()) + " bytes");
}

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

/// compute() on whatever part of a granule the reader wants: whole granules go straight to `out`,
/// the ends through a buffer.
void compute_range(const BlockDevice& device, std::uint64_t offset, MutableBytes out) {
  const std::uint64_t granule = device.granule();
  while (!out.empty()) {
    const std::uint64_t begin = round_down(offset, granule);
    const std::uint64_t whole_end = offset + out.size() >= device.size()
                                        ? device.size()
                                        : round_down(offset + out.size(), granule);
    if (begin == offset && whole_end > offset) {
      const std::size_t length = std::min<std::uint64_t>(whole_end - offset, out.size());
      device.compute(offset, out.first(length));
      offset += length;
      out = out.subspan(length);
      continue;
    }
    Buffer bounce(std::min<std::uint64_t>(granule, device.size() - begin));
    device.compute(begin, bounce);
    const std::size_t skip = offset - begin;
    const std::size_t length = std::min(bounce.size() - skip, out.size());
    std::memcpy(out.data(), bounce.data() + skip, length);
    offset += length;
    out = out.subspan(length);
  }
}

}  // namespace

void BlockDevice::compute(std::uint64_t offset, MutableBytes out) const {
  throw Error(Fault::io, describe() + ": asked to compute bytes that it only describes")
      .found(std::to_string(out.size()) + " bytes at offset " + std::to_string(offset))
      .advice("this is a mistake in peelfs; please report it");
}

Resolved resolve(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  check_range(device, offset, length);
  const BlockDevice* current = &device;
  try {
    for (unsigned depth = 0; depth < max_depth; ++depth) {
      const Extent extent = current->map(offset, length);
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

void read(const BlockDevice& device, std::uint64_t offset, MutableBytes out) {
  check_range(device, offset, out.size());
  try {
    Gather gather;
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
          compute_range(*at.device, at.offset, part);
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
