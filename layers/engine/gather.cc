#include "engine/gather.h"

#include "host/file_space.h"

namespace peelfs {

void Gather::transfer(Run& run) const {
  claim_others(run);
  const std::span<const iovec> buffers(run.buffers.data(), run.count);
  if (direction_ == Direction::read) {
    run.file->read(run.begin, buffers);
  } else {
    run.file->write(run.begin, buffers);
  }
  run.count = 0;
}

// Runs go to and fro between files, so that one that is written may hold what comes behind a part
// of another: that one must have its space by then.
void Gather::claim_others(const Run& run) const {
  if (direction_ == Direction::read) return;
  for (std::size_t i = 0; i < used_; ++i) {
    const Run& other = runs_[i];
    if (&other == &run || other.count == 0) continue;
    claim_in_file(*other.file, other.begin, other.end - other.begin);
  }
}

void Gather::add(const HostFile& file, std::uint64_t offset, MutableBytes memory) {
  for (std::size_t i = 0; i < used_; ++i) {
    Run& run = runs_[i];
    if (run.count == 0 || run.file != &file || run.end != offset) continue;
    iovec& last = run.buffers[run.count - 1];
    if (static_cast<std::byte*>(last.iov_base) + last.iov_len == memory.data()) {
      last.iov_len += memory.size();
    } else if (run.count < max_buffers) {
      run.buffers[run.count++] = {memory.data(), memory.size()};
    } else {
      transfer(run);
      break;
    }
    run.end += memory.size();
    return;
  }
  std::size_t slot = used_;
  if (used_ < max_runs) {
    ++used_;
  } else {
    slot = oldest_;
    oldest_ = (oldest_ + 1) % max_runs;
    if (runs_[slot].count != 0) transfer(runs_[slot]);
  }
  Run& run = runs_[slot];
  run.file = &file;
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
