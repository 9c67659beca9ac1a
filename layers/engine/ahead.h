// Reading ahead for a reader that reads a device from one end to the other, where bytes have to be
// computed: the next bytes are decrypted or decompressed while the last ones are on their way to
// the reader. Bytes that lie in a file as they are read need none of this: the host's kernel reads
// ahead there.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "peelfs/io.h"

namespace peelfs {

/// One reader (an open file) of a device that this process does not write to, neither directly nor
/// through another device: a request may get bytes that were read some time before it. Thread-safe;
/// several requests may be under way, and arrive in another order than the reader made them.
class Ahead {
 public:
  using Clock = std::chrono::steady_clock;

  /// What one thread reads at once: many times the cost of waking it.
  static constexpr std::size_t kChunkSize = 128U << 10U;
  /// Bytes that are read ahead of a request, which is also the longest request that profits.
  static constexpr std::size_t kReach = 1U << 20U;
  /// Bytes; for smaller requests the waiting costs more than reading ahead gains.
  static constexpr std::size_t kLeastRequest = 64U << 10U;

  /// @param longest how long bytes may wait for the reader, since others may change a source
  explicit Ahead(DevicePtr device, Clock::duration longest = std::chrono::seconds(2));
  /// Does not wait: a read that hangs with its disk may keep the device for longer than this.
  ~Ahead();
  Ahead(const Ahead&) = delete;
  Ahead& operator=(const Ahead&) = delete;

  /// As peelfs::lend(), with the same bytes. @return Lending::trusted
  bool lend(std::uint64_t offset, MutableBytes scratch,
            const std::function<void(std::span<const iovec>)>& hand_over);

  /// How many requests were answered with bytes that had been read ahead.
  std::uint64_t hits() const noexcept;

 private:
  class Window;
  const std::shared_ptr<Window> window_;
};

}  // namespace peelfs
