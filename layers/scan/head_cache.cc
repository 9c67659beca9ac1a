#include "scan/head_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/mutex.h"
#include "peelfs/storage.h"

namespace peelfs {

namespace {

std::uint64_t preferred(const BlockDevice& device) {
  try {
    return best_read(device, 0);
  } catch (const Error&) {
    return 0;  // tables that are damaged are said where the bytes are read
  }
}

}  // namespace

HeadCache::HeadCache(DevicePtr device, const Cancel* cancel)
    : BlockDevice(device->size(), device->sector_size()),
      device_(std::move(device)),
      chunk_(std::bit_floor(std::clamp(preferred(*device_), kLeastChunk, kMostChunk))),
      cancel_(cancel) {}

Extent HeadCache::map(std::uint64_t offset, std::uint64_t length) const {
  check_cancel(cancel_);
  const std::uint64_t first = round_down(offset, chunk_);
  std::uint64_t room = 0;
  {
    const MutexLock lock(mutex_);
    const bool is_known = chunks_.contains(first);
    if (is_known) return Extent::computed(std::min(length, first + chunk_ - offset));
    if (unreadable_.contains(first) || bytes_ + chunk_ > kMostBytes) {
      return Extent::in_device(*device_, offset, std::min(length, first + chunk_ - offset));
    }
    room = round_down(kMostBytes - bytes_, chunk_);
  }
  // Holes of a thin image stay holes: they are neither read nor kept.
  const Run run = block_status(*device_, offset, length);
  if (!run.data) return Extent::zeroes(run.length);
  return Extent::computed(std::min(run.length, first + room - offset));
}

void HeadCache::compute(std::uint64_t offset, MutableBytes out) const {
  const MutexLock lock(mutex_);
  const std::uint64_t end = offset + out.size();
  try {
    fetch(offset, end);
  } catch (const Error&) {
    check_cancel(cancel_);
    for (std::uint64_t at = round_down(offset, chunk_); at < end; at += chunk_) {
      if (!chunks_.contains(at)) unreadable_.insert(at);
    }
    const bool is_whole = offset % chunk_ == 0 && (end % chunk_ == 0 || end == size());
    if (is_whole) throw;
    // What is bad may lie beside what was asked for.
    return read(*device_, offset, out);
  }
  while (!out.empty()) {
    const std::uint64_t first = round_down(offset, chunk_);
    const Bytes bytes = chunks_.at(first).bytes();
    const std::size_t skip = offset - first;
    const std::size_t length = std::min(bytes.size() - skip, out.size());
    std::memcpy(out.data(), bytes.data() + skip, length);
    offset += length;
    out = out.subspan(length);
  }
}

void HeadCache::fetch(std::uint64_t offset, std::uint64_t end) const {
  std::uint64_t at = round_down(offset, chunk_);
  while (at < end) {
    check_cancel(cancel_);
    if (chunks_.contains(at)) {
      at += chunk_;
      continue;
    }
    std::uint64_t stop = at + chunk_;
    while (stop < end && !chunks_.contains(stop)) stop += chunk_;
    read_chunks(at, std::min(stop, size()));
    at = stop;
  }
}

void HeadCache::read_chunks(std::uint64_t begin, std::uint64_t end) const {
  const auto whole = static_cast<std::size_t>(end - begin);
  const auto memory = std::make_shared_for_overwrite<std::byte[]>(whole);
  read(*device_, begin, {memory.get(), whole});
  for (std::uint64_t at = begin; at < end; at += chunk_) {
    const auto length = static_cast<std::size_t>(std::min(chunk_, end - at));
    chunks_.insert_or_assign(at, Chunk{memory, static_cast<std::size_t>(at - begin), length});
    bytes_ += length;
  }
}

}  // namespace peelfs
