#include "engine/gather.h"

namespace peelfs {

void Gather::transfer(Run& run) const {
  claim_others(run);
  const std::span<const iovec> buffers(run.buffers.data(), run.count);
  if (direction_ == Direction::read) {
    run.storage->read(run.begin, buffers);
  } else {
    run.storage->write(run.begin, buffers);
  }
  run.count = 0;
}

// Runs alternate between storages, so this run may hold bytes that lie behind a part of another
// run. The other runs must have their space before this one is written.
void Gather::claim_others(const Run& run) const {
  if (direction_ == Direction::read) return;
  for (std::size_t i = 0; i < used_; ++i) {
    const Run& other = runs_[i];
    if (&other == &run || other.count == 0) continue;
    other.storage->claim(other.begin, other.end - other.begin);
  }
}

void Gather::add(const Storage& storage, std::uint64_t offset, MutableBytes memory) {
  for (std::size_t i = 0; i < used_; ++i) {
    Run& run = runs_[i];
    if (run.count == 0 || run.storage != &storage || run.end != offset) continue;
    iovec& last = run.buffers[run.count - 1];
    if (static_cast<std::byte*>(last.iov_base) + last.iov_len == memory.data()) {
      last.iov_len += memory.size();
    } else if (run.count < kMaxBuffers) {
      run.buffers[run.count++] = {memory.data(), memory.size()};
    } else {
      transfer(run);
      break;
    }
    run.end += memory.size();
    return;
  }
  std::size_t slot = used_;
  if (used_ < kMaxRuns) {
    ++used_;
  } else {
    slot = oldest_;
    oldest_ = (oldest_ + 1) % kMaxRuns;
    if (runs_[slot].count != 0) transfer(runs_[slot]);
  }
  Run& run = runs_[slot];
  run.storage = &storage;
  run.begin = offset;
  run.end = offset + memory.size();
  run.buffers[0] = {memory.data(), memory.size()};
  run.count = 1;
}

void Gather::finish() {
  for (std::size_t i = 0; i < used_; ++i) {
    if (runs_[i].count != 0) transfer(runs_[i]);
  }
  used_ = 0;
}

}  // namespace peelfs
