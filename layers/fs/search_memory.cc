#include "fs/search_memory.h"

#include <algorithm>
#include <utility>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/mutex.h"

namespace peelfs::fs {

namespace {

constexpr std::size_t kMostRanges = std::size_t{1} << 20U;
constexpr std::size_t kMostKept = 64;
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

bool SearchMemory::knows(const std::string& uuid) const {
  return std::ranges::any_of(known_, [&](const KnownPtr& known) { return known->uuid == uuid; });
}

std::vector<SearchMemory::KnownPtr> SearchMemory::known(const std::string& uuid,
                                                        std::uint64_t after) const {
  std::vector<KnownPtr> result;
  const MutexLock lock(mutex_);
  for (const KnownPtr& known : known_) {
    if (known->number > after && known->uuid == uuid) result.push_back(known);
  }
  return result;
}

bool SearchMemory::fits(const Known& known, const BlockDevice& device) {
  return known.device->size() == device.size() &&
         std::ranges::all_of(known.ranges, [&](const ByteRange& range) {
           return same_bytes(*known.device, device, range);
         });
}

SearchMemory::Turn::Turn(SearchMemory& memory, std::string uuid, const Cancel* cancel)
    : memory_(memory), uuid_(std::move(uuid)) {
  UniqueLock lock(memory_.mutex_);
  unsigned& turns = memory_.turns_[uuid_];
  while (turns != 0 && !memory_.knows(uuid_)) {
    check_cancel(cancel);
    memory_.ended_.wait(lock);  // a search ends soon when it is cancelled
  }
  ++turns;
}

SearchMemory::Turn::~Turn() {
  const MutexLock lock(memory_.mutex_);
  --memory_.turns_[uuid_];
  memory_.ended_.notify_all();
}

std::shared_ptr<const SearchResult> SearchMemory::Turn::find(const BlockDevice& device) {
  const std::vector<KnownPtr> all = memory_.known(uuid_, 0);
  if (!all.empty()) seen_ = all.front()->number;
  try {
    for (const KnownPtr& known : all) {
      if (fits(*known, device)) return {known, &known->result};
    }
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the search meets it again
  }
  return nullptr;
}

bool SearchMemory::Turn::keep(DevicePtr device, std::vector<ByteRange> ranges,
                              SearchResult result) {
  for (FoundImage& image : result.images) image.device.reset();
  const MutexLock keeping(memory_.keeping_);
  bool is_new = true;
  try {
    is_new = std::ranges::none_of(memory_.known(uuid_, seen_),
                                  [&](const KnownPtr& known) { return fits(*known, *device); });
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): it counts as another one
  }
  if (!is_new) return false;
  const MutexLock lock(memory_.mutex_);
  memory_.known_.push_front(std::make_shared<const Known>(
      Known{++memory_.last_, std::move(device), uuid_, std::move(ranges), std::move(result)}));
  return true;
}

std::uint64_t SearchMemory::mark() {
  const MutexLock lock(mutex_);
  while (known_.size() > kMostKept) known_.pop_back();
  return last_;
}

void SearchMemory::go_back(std::uint64_t mark) {
  const MutexLock lock(mutex_);
  while (!known_.empty() && known_.front()->number > mark) known_.pop_front();
}

}  // namespace peelfs::fs
