#include "fs/owner_map.h"

#include <algorithm>
#include <limits>

namespace peelfs::fs {

OwnerMap::OwnerMap(std::span<const ByteRange> ranges, std::uint64_t block_size)
    : ranges_(ranges.begin(), ranges.end()), block_size_(block_size) {
  std::size_t blocks = 0;
  for (const ByteRange& range : ranges_) {
    std::uint64_t first = range.offset / block_size;
    const std::uint64_t end = (range.offset + range.length - 1) / block_size + 1;
    if (!runs_.empty()) first = std::max(first, runs_.back().first + runs_.back().count);
    if (first >= end) continue;  // all in the last block of the range before
    if (!runs_.empty() && runs_.back().first + runs_.back().count == first) {
      runs_.back().count += end - first;
    } else {
      runs_.push_back({first, end - first, blocks});
    }
    blocks += static_cast<std::size_t>(end - first);
  }
  owner_of_.resize(blocks);
}

std::size_t OwnerMap::index_of(std::uint64_t block) const {
  const auto next =
      std::upper_bound(runs_.begin(), runs_.end(), block,
                       [](std::uint64_t wanted, const Run& run) { return wanted < run.first; });
  if (next == runs_.begin()) return kNowhere;
  const Run& run = *std::prev(next);
  const std::uint64_t within = block - run.first;
  return within < run.count ? run.index + static_cast<std::size_t>(within) : kNowhere;
}

void OwnerMap::claim(std::uint64_t first, std::uint64_t count,
                     const std::function<Filesystem::Owner()>& owner) {
  // Numbers from a disk: the last blocks there could be.
  const std::uint64_t end =
      first + std::min(count, std::numeric_limits<std::uint64_t>::max() - first);
  auto run = std::partition_point(runs_.begin(), runs_.end(),
                                  [&](const Run& one) { return one.first + one.count <= first; });
  std::uint32_t number = 0;
  for (; run != runs_.end() && run->first < end; ++run) {
    const std::uint64_t from = std::max(first, run->first);
    const std::uint64_t to = std::min(end, run->first + run->count);
    for (std::uint64_t block = from; block < to; ++block) {
      std::uint32_t& slot = owner_of_[run->index + static_cast<std::size_t>(block - run->first)];
      if (slot != 0) continue;
      if (number == 0) {
        Filesystem::Owner made = owner();
        if (owners_.empty() || !(owners_.back() == made)) owners_.push_back(std::move(made));
        number = static_cast<std::uint32_t>(owners_.size());
      }
      slot = number;
    }
  }
}

std::vector<Filesystem::OwnedRange> OwnerMap::owners() const {
  std::vector<Filesystem::OwnedRange> result;
  const Filesystem::Owner none;
  for (const ByteRange& range : ranges_) {
    const std::uint64_t range_end = range.offset + range.length;
    for (std::uint64_t at = range.offset; at < range_end;) {
      const std::uint64_t block = at / block_size_;
      const std::uint64_t end = std::min((block + 1) * block_size_, range_end);
      const std::uint32_t number = owner_of_[index_of(block)];
      append(result, at, end, number == 0 ? none : owners_[number - 1]);
      at = end;
    }
  }
  return result;
}

}  // namespace peelfs::fs
