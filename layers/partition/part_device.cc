#include "partition/part_device.h"

#include <algorithm>
#include <numeric>

#include "peelfs/devices.h"
#include "peelfs/figure.h"

namespace peelfs {

namespace {

// The largest offset that a host can address (off_t).
constexpr std::uint64_t kMostBytes = 0x7FFF'FFFF'FFFF'FFFFULL;

}  // namespace

std::string lba_range(const PartRange& range) {
  if (range.count == 0) return "no block at LBA " + figure(range.start, 512);
  return "LBA " + figure(range.start, 512) + " to " + figure(range.start + (range.count - 1), 512);
}

DevicePtr make_part_device(const DevicePtr& disk, const PartRange& range, std::uint32_t sector_size,
                           const std::string& description, Troubles& troubles) {
  const std::uint64_t most_blocks = kMostBytes / sector_size;
  if (range.count == 0 || range.start > most_blocks || range.count > most_blocks - range.start) {
    Error error =
        Error(Fault::damaged, "the partition has no possible place on a disk")
            .found("start LBA " + figure(range.start, 512) + ", " + figure(range.count, 512) +
                   " blocks of " + std::to_string(sector_size) + " bytes")
            .expected("an end behind the start and within 2^63 bytes")
            .advice("repair the partition table on a copy of the image");
    troubles.damage(error);
    return make_unreadable(0, std::move(error), description);
  }
  const std::uint64_t start = range.start * sector_size;  // both bounded by kMostBytes above
  const std::uint64_t length = range.count * sector_size;
  if (start <= disk->size() && length <= disk->size() - start) {
    if (sector_size == disk->sector_size()) return make_slice(disk, start, length, description);
    return make_concat({{disk, start, length}}, Error(Fault::damaged, description), description,
                       sector_size);
  }

  const std::uint64_t there = start < disk->size() ? disk->size() - start : 0;
  Error error =
      Error(Fault::damaged, there == 0 ? "the partition lies beyond the end of the disk"
                                       : "the partition ends beyond the end of the disk")
          .found("an end at byte " + figure(start + length))
          .expected("an end within the disk's " + std::to_string(disk->size()) + " bytes")
          .advice(there == 0 ? "the image is truncated: look for a whole copy of it"
                             : "the image is truncated: only the first " + std::to_string(there) +
                                   " bytes of the partition can be read")
          .with_errno(EIO);
  troubles.damage(error);
  if (there == 0) return make_unreadable(length, std::move(error), description);
  return make_concat({{disk, start, there}, {nullptr, 0, length - there}}, std::move(error),
                     description, sector_size);
}

void describe_partition(Inner& inner, const PartRange& range, std::uint32_t sector_size,
                        std::uint32_t number, std::string_view type_name, bool boot) {
  if (range.count != 0 && range.start <= kMostBytes / sector_size) {
    inner.offset = range.start * sector_size;
  }
  inner.properties.push_back({"partn", std::uint64_t{number}});
  if (!type_name.empty()) inner.properties.push_back({"parttypename", std::string(type_name)});
  inner.properties.push_back({"boot", boot});
}

std::vector<std::optional<std::size_t>> find_overlaps(const std::vector<PartRange>& ranges) {
  std::vector<std::optional<std::size_t>> overlaps(ranges.size());
  std::vector<std::size_t> order(ranges.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::erase_if(order, [&](std::size_t i) { return ranges[i].count == 0; });
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return ranges[a].start < ranges[b].start; });
  // The inclusive end cannot wrap where it matters: a range that would is clamped.
  const auto last = [&](std::size_t i) {
    const std::uint64_t room = ~std::uint64_t{0} - ranges[i].start;
    return ranges[i].start + std::min(ranges[i].count - 1, room);
  };
  std::optional<std::size_t> farthest;
  for (const std::size_t i : order) {
    if (farthest && ranges[i].start <= last(*farthest)) overlaps[i] = *farthest;
    if (!farthest || last(i) > last(*farthest)) farthest = i;
  }
  return overlaps;
}

}  // namespace peelfs
