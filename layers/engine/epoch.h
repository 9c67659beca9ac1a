// Epochs tell when all requests have ended that may know of a place that is given up.
//
// An extent stays true until the request that asked for it has finished. A writer that takes a
// place out of use (a discarded cluster) therefore waits until every request that was under way has
// ended; only then it punches the place or uses it for other data.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "peelfs/mutex.h"

namespace peelfs {

/// The requests of this process, after the manner of sleepable read-copy-update: two sets of
/// counters, of which one fills while the other drains. Thread-safe.
class Epochs {
 public:
  static Epochs& process();

  /// Around every request of the read and write loops; nested ones cost nothing.
  class Request {
   public:
    Request() noexcept;
    ~Request();
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;
    /// Whether this thread is inside of one.
    static bool active() noexcept;

   private:
    std::atomic<std::int64_t>* counter_ = nullptr;
  };

  /// Call it after the place was taken out of every table. @return the number to give to passed()
  std::uint64_t now() const noexcept { return epoch_.load(std::memory_order_seq_cst); }

  /// Whether every request that was under way at `epoch` has ended. Never waits.
  bool passed(std::uint64_t epoch);

  /// The same, waiting for at most `patience`. Must not be called from within a request.
  bool wait(std::uint64_t epoch, std::chrono::milliseconds patience);

 private:
  static constexpr std::size_t kShards = 16;
  struct alignas(64) Counter {
    std::atomic<std::int64_t> count{0};
  };
  friend struct EpochsTest;  ///< plays races step by step
  std::atomic<std::int64_t>& enter(std::uint64_t epoch) noexcept;
  bool drained(std::uint64_t parity) const noexcept;

  std::atomic<std::uint64_t> epoch_{2};
  std::array<std::array<Counter, kShards>, 2> counters_;
  Mutex advancing_;  ///< held to move epoch_ on
};

}  // namespace peelfs
