// Reading ahead of somebody who reads a device from one end to the other, where bytes have to be
// computed: the next ones are decrypted or decompressed while the last ones are on their way to the
// reader. What lies in a file as it is needs none of this: the host's kernel reads ahead there.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>

#include "engine/crew.h"
#include "peelfs/io.h"

namespace peelfs {

/// One reader (an open file) of a device that nobody in this process writes to, neither directly
/// nor through another device: what was read ahead is handed out later. Thread-safe; several
/// requests may be under way, and arrive in another order than the reader made them.
class Ahead {
 public:
  using Clock = std::chrono::steady_clock;

  /// What one thread reads at once: many times the cost of waking it.
  static constexpr std::size_t chunk_size = 128U << 10U;
  /// Bytes that are read ahead of a request, which is also the longest request that profits.
  static constexpr std::size_t reach = 1U << 20U;
  /// For the request that is being answered and for what comes next, neither of which need begin
  /// where a chunk does.
  static constexpr std::size_t chunk_count = 2 * reach / chunk_size + 2;
  /// Bytes; smaller requests pay more for the waiting than they win.
  static constexpr std::size_t least_request = 64U << 10U;

  /// @param longest how long bytes may wait for the reader, since others may change a source
  explicit Ahead(DevicePtr device, Clock::duration longest = std::chrono::seconds(2));
  /// Waits for what is being read. No request may be under way.
  ~Ahead();
  Ahead(const Ahead&) = delete;
  Ahead& operator=(const Ahead&) = delete;

  /// As peelfs::lend(); the same bytes.
  bool lend(std::uint64_t offset, MutableBytes scratch,
            const std::function<void(std::span<const iovec>)>& hand_over);

  /// How many requests were answered with bytes that had been read ahead.
  std::uint64_t hits() const noexcept { return hits_.load(std::memory_order_relaxed); }

 private:
  struct Chunk final : Background {
    enum class State : std::uint8_t { wanted, ready, failed };
    void run() noexcept override { owner->fill(*this); }

    Ahead* owner = nullptr;
    State state = State::ready;
    unsigned requests = 0;  ///< that it is handed out to
    std::uint64_t offset = 0;
    MutableBytes bytes;
    std::size_t left = 0;  ///< bytes that nobody has taken
    Clock::time_point begun;
  };
  class Part;

  Chunk& chunk(std::uint64_t number) { return chunks_[number % chunk_count]; }
  std::uint64_t place(std::uint64_t number) const { return base_ + number * chunk_size; }
  // With the lock held:
  void follow(std::uint64_t offset, std::size_t length, bool known);
  void extend(std::uint64_t end);
  void release(std::uint64_t keep_from);
  bool has_memory();
  bool worth_it(std::uint64_t offset) const noexcept;
  // Without:
  void fill(Chunk& chunk) noexcept;

  const DevicePtr device_;
  const Clock::duration longest_;
  std::atomic<std::uint64_t> hits_{0};
  std::mutex mutex_;                 ///< guards what follows, and the chunks except their bytes
  std::condition_variable changed_;  ///< a chunk was read, or a request has left one
  std::unique_ptr<std::byte[]> memory_;
  std::array<Chunk, chunk_count> chunks_;
  std::uint64_t base_ = 0;             ///< where chunk number 0 would lie
  std::uint64_t first_ = 0, end_ = 0;  ///< the numbers of the chunks that there are
  bool left_over_ = false;             ///< they are of a place that the reader has left
  std::uint64_t next_ = 0;             ///< where the reader goes on, if it does
  unsigned in_order_ = 0;              ///< so many requests have come one behind the other
};

}  // namespace peelfs
