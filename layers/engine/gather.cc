#include "engine/gather.h"

namespace peelfs {

void Gather::read(Run& run) {
  run.file->read(run.begin, {run.buffers.data(), run.count});
  run.count = 0;
}

void Gather::add(const HostFile& file, std::uint64_t offset, MutableBytes out) {
  for (std::size_t i = 0; i < used_; ++i) {
    Run& run = runs_[i];
    if (run.count == 0 || run.file != &file || run.end != offset) continue;
    iovec& last = run.buffers[run.count - 1];
    if (static_cast<std::byte*>(last.iov_base) + last.iov_len == out.data()) {
      last.iov_len += out.size();
    } else if (run.count < max_buffers) {
      run.buffers[run.count++] = {out.data(), out.size()};
    } else {
      read(run);
      break;
    }
    run.end += out.size();
    return;
  }
  std::size_t slot = used_;
  if (used_ < max_runs) {
    ++used_;
  } else {
    slot = oldest_;
    oldest_ = (oldest_ + 1) % max_runs;
    if (runs_[slot].count != 0) read(runs_[slot]);
  }
  Run& run = runs_[slot];
  run.file = &file;
  run.begin = offset;
  run.end = offset + out.size();
  run.buffers[0] = {out.data(), out.size()};
  run.count = 1;
}

void Gather::finish() {
  for (std::size_t i = 0; i < used_; ++i) {
    if (runs_[i].count != 0) read(runs_[i]);
  }
  used_ = 0;
}

}  // namespace peelfs
