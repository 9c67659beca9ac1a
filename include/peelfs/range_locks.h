// Locks on ranges of bytes, so that concurrent unaligned writes come out right.
#pragma once

#include <cstdint>

#include "peelfs/mutex.h"

namespace peelfs {

/// Ranges that are held by stores (alone) and by readers of computed bytes (together). A thread
/// that holds a range may lock a range of a device below, never of the same device or of one above.
/// Ranges are given in the order in which they were asked for: readers without end do not keep a
/// store out. Thread-safe.
class RangeLocks {
 public:
  enum class Mode : std::uint8_t { shared, exclusive };

  class Held {
   public:
    Held(RangeLocks& locks, std::uint64_t begin, std::uint64_t end, Mode mode);
    ~Held();
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

   private:
    friend class RangeLocks;
    RangeLocks& locks_;
    const std::uint64_t begin_;
    const std::uint64_t end_;
    const Mode mode_;
    /// Its neighbours in the order of asking; a lock takes no memory.
    Held* before_ = nullptr;
    Held* after_ = nullptr;
  };

 private:
  bool must_wait(const Held& wanted) const PEELFS_REQUIRES(mutex_);

  Mutex mutex_;
  Condition released_;
  /// Held or waited for, in the order of asking.
  Held* first_ PEELFS_GUARDED_BY(mutex_) = nullptr;
  Held* last_ PEELFS_GUARDED_BY(mutex_) = nullptr;
  unsigned waiting_ PEELFS_GUARDED_BY(mutex_) = 0;
};

}  // namespace peelfs
