#include "fs/search_memory.h"

#include <algorithm>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/mutex.h"

namespace peelfs::fs {

namespace {

constexpr std::size_t kMostRanges = std::size_t{1} << 20U;
constexpr std::size_t kMostKept = 16;
constexpr std::uint64_t kComparedAtOnce = std::uint64_t{1} << 20U;

bool in_one_place(const Resolved& a, const Resolved& b) {
  if (a.extent.kind != b.extent.kind) return false;
  switch (a.extent.kind) {
    case ExtentKind::zero:
      return true;
    case ExtentKind::storage:
      return a.extent.storage == b.extent.storage && a.extent.offset == b.extent.offset;
    case ExtentKind::computed:
      return a.device == b.device && a.offset == b.offset;
    case ExtentKind::lower:
      break;
  }
  return false;
}

void merge(std::vector<ByteRange>& ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const ByteRange& a, const ByteRange& b) { return a.offset < b.offset; });
  std::vector<ByteRange> merged;
  for (const ByteRange& range : ranges) {
    if (!merged.empty() && range.offset <= merged.back().offset + merged.back().length) {
      ByteRange& last = merged.back();
      last.length = std::max(last.length, range.offset + range.length - last.offset);
    } else {
      merged.push_back(range);
    }
  }
  ranges = std::move(merged);
}

}  // namespace

WitnessDevice::WitnessDevice(DevicePtr device)
    : BlockDevice(device->size(), device->sector_size()), device_(std::move(device)) {}

Extent WitnessDevice::map(std::uint64_t, std::uint64_t length) const {
  return Extent::computed(length);
}

void WitnessDevice::compute(std::uint64_t offset, MutableBytes out) const {
  try {
    read(*device_, offset, out);
  } catch (const Error&) {
    const MutexLock lock(mutex_);
    useless_ = true;
    throw;
  }
  const MutexLock lock(mutex_);
  if (ranges_.size() == kMostRanges) merge(ranges_);
  useless_ = useless_ || ranges_.size() == kMostRanges;
  if (!useless_) ranges_.push_back({offset, out.size()});
}

std::optional<std::vector<ByteRange>> WitnessDevice::ranges() const {
  const MutexLock lock(mutex_);
  if (useless_) return std::nullopt;
  merge(ranges_);
  return ranges_;
}

bool same_bytes(const BlockDevice& a, const BlockDevice& b, const ByteRange& range) {
  for (std::uint64_t done = 0; done < range.length;) {
    const std::uint64_t at = range.offset + done;
    const std::uint64_t length = std::min(range.length - done, kComparedAtOnce);
    const Resolved first = resolve(a, at, length);
    const Resolved second = resolve(b, at, length);
    const std::uint64_t step = std::min(first.extent.length, second.extent.length);
    if (!in_one_place(first, second) && read_bytes(a, at, static_cast<std::size_t>(step)) !=
                                            read_bytes(b, at, static_cast<std::size_t>(step))) {
      return false;
    }
    done += step;
  }
  return true;
}

const SearchResult* SearchMemory::find(const BlockDevice& device, std::string_view uuid) const {
  for (const Known& known : known_) {
    if (known.uuid != uuid || known.device->size() != device.size()) continue;
    try {
      const bool same = std::all_of(
          known.ranges.begin(), known.ranges.end(),
          [&](const ByteRange& range) { return same_bytes(*known.device, device, range); });
      if (same) return &known.result;
    } catch (const Error&) {
      return nullptr;  // the search meets it again, and says where
    }
  }
  return nullptr;
}

void SearchMemory::keep(DevicePtr device, std::string uuid, std::vector<ByteRange> ranges,
                        SearchResult result) {
  for (FoundImage& image : result.images) image.device.reset();
  known_.push_front({std::move(device), std::move(uuid), std::move(ranges), std::move(result)});
  if (known_.size() > kMostKept) known_.pop_back();
}

}  // namespace peelfs::fs
