// Collects the pieces that the loops read from or write to storages, so that neighbours in one
// storage are read or written by one request, wherever they are in memory.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>

#include "peelfs/bytes.h"
#include "peelfs/storage.h"

namespace peelfs {

/// Lives on the stack of one request; allocates nothing. A striped volume has as many open runs as
/// stripes, and each grows by one buffer a chunk.
class Gather {
 public:
  enum class Direction : std::uint8_t { read, write };
  explicit Gather(Direction direction) : direction_(direction) {}

  /// Adds "the bytes of `storage` at `offset` go to (come from) `memory`". May already read (write)
  /// what was collected before. Nothing is changed in memory when writing.
  void add(const Storage& storage, std::uint64_t offset, MutableBytes memory);
  /// Reads (writes) everything that was collected. Must be called last; nothing is done without it.
  void finish();

 private:
  static constexpr std::size_t kMaxRuns = 8;
  static constexpr std::size_t kMaxBuffers = 64;

  struct Run {
    const Storage* storage = nullptr;
    std::uint64_t begin = 0, end = 0;
    std::size_t count = 0;
    std::array<iovec, kMaxBuffers> buffers;
  };
  void transfer(Run& run) const;
  void claim_others(const Run& run) const;

  const Direction direction_;
  std::array<Run, kMaxRuns> runs_;
  std::size_t used_ = 0;
  std::size_t oldest_ = 0;
};

}  // namespace peelfs
