#include "engine/computed.h"

#include <algorithm>
#include <cstring>

#include "engine/gather.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

RangeLocks::Held lock_store(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t unit = device.write_granule();
  return {device.ranges(), round_down(offset, unit), round_up(offset + length, unit),
          RangeLocks::Mode::exclusive};
}

/// Calls compute() for any range: whole granules go straight to `out`, parts of a granule at the
/// ends go through a buffer.
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

/// Reads bytes of a range that the caller has locked: those that share a granule with the bytes to
/// be written.
void read_held(const BlockDevice& device, std::uint64_t offset, MutableBytes out) {
  while (!out.empty()) {
    const Extent extent = device.map(offset, out.size());
    const MutableBytes part = out.first(extent.length);
    switch (extent.kind) {
      case ExtentKind::computed:
        compute_range(device, offset, part);
        break;
      case ExtentKind::zero:
        std::memset(part.data(), 0, part.size());
        break;
      case ExtentKind::lower:
        read(*extent.device, extent.offset, part);
        break;
      case ExtentKind::storage: {
        Gather gather(Gather::Direction::read);
        gather.add(*extent.storage, extent.offset, part);
        gather.finish();
        break;
      }
    }
    offset += part.size();
    out = out.subspan(part.size());
  }
}

/// store() under a lock that is held.
void store_range(const BlockDevice& device, std::uint64_t offset, Bytes data) {
  const std::uint64_t granule = device.granule();
  while (!data.empty()) {
    const std::uint64_t begin = round_down(offset, granule);
    const std::uint64_t whole_end = offset + data.size() >= device.size()
                                        ? device.size()
                                        : round_down(offset + data.size(), granule);
    if (begin == offset && whole_end > offset) {
      const std::size_t length = std::min<std::uint64_t>(whole_end - offset, data.size());
      device.store(offset, data.first(length));
      offset += length;
      data = data.subspan(length);
      continue;
    }
    Buffer bounce(std::min<std::uint64_t>(granule, device.size() - begin));
    read_held(device, begin, bounce);
    const std::size_t skip = offset - begin;
    const std::size_t length = std::min(bounce.size() - skip, data.size());
    std::memcpy(bounce.data() + skip, data.data(), length);
    device.store(begin, bounce);
    offset += length;
    data = data.subspan(length);
  }
}

}  // namespace

void read_computed(const BlockDevice& device, std::uint64_t offset, MutableBytes out) {
  if (!device.may_be_written()) {
    compute_range(device, offset, out);
    return;
  }
  // A sector that is half written decrypts to neither the old nor the new.
  const std::uint64_t granule = device.granule();
  const RangeLocks::Held held(device.ranges(), round_down(offset, granule),
                              round_up(offset + out.size(), granule), RangeLocks::Mode::shared);
  compute_range(device, offset, out);
}

void write_computed(const BlockDevice& device, std::uint64_t offset, Bytes data) {
  const RangeLocks::Held held = lock_store(device, offset, data.size());
  store_range(device, offset, data);
}

void zero_computed(const BlockDevice& device, std::uint64_t offset, std::uint64_t length,
                   WriteKind kind) {
  const RangeLocks::Held held = lock_store(device, offset, length);
  const std::uint64_t granule = device.granule();
  const std::uint64_t end = offset + length;
  const std::uint64_t first = std::min(round_up(offset, granule), end);
  const std::uint64_t last = end == device.size() ? end : std::max(first, round_down(end, granule));
  const Buffer zeroes(std::min<std::uint64_t>(granule, length));
  store_range(device, offset, Bytes(zeroes).first(first - offset));
  if (last > first) device.store_zeroes(first, last - first, kind);
  store_range(device, last, Bytes(zeroes).first(end - last));
}

}  // namespace peelfs
