// Collects what the read loop wants from host files, so that what lies together in a file is read
// by one system call wherever it goes in memory.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>

#include "peelfs/bytes.h"
#include "peelfs/host_file.h"

namespace peelfs {

/// Lives on the stack of one read; allocates nothing. A striped volume has as many open runs as
/// stripes, and each grows by one buffer a chunk.
class Gather {
 public:
  /// Adds "the bytes of `file` at `offset` go to `out`". May read what was collected before.
  void add(const HostFile& file, std::uint64_t offset, MutableBytes out);
  /// Reads everything that was collected. Must be called last; nothing is read without it.
  void finish();

 private:
  static constexpr std::size_t max_runs = 8;
  static constexpr std::size_t max_buffers = 64;

  struct Run {
    const HostFile* file = nullptr;
    std::uint64_t begin = 0, end = 0;
    std::size_t count = 0;
    std::array<iovec, max_buffers> buffers;
  };
  static void read(Run& run);

  std::array<Run, max_runs> runs_;
  std::size_t used_ = 0;
  std::size_t oldest_ = 0;
};

}  // namespace peelfs
