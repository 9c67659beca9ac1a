// A device that remembers in which order it was written and flushed.
#pragma once

#include <cstdint>
#include <mutex>
#include <random>
#include <vector>

#include "support/support.h"

namespace peelfs::test {

/// Memory, with a log of all writes and flushes. Writes to it are bytes only: zeroes are refused,
/// so that they come as bytes, too.
class RecordingDevice : public MemoryDevice {
 public:
  struct Step {
    bool flush = false;
    std::uint64_t offset = 0;
    Buffer bytes;
  };

  explicit RecordingDevice(Buffer bytes)
      : MemoryDevice(bytes, 512, Access::read_write), initial_(std::move(bytes)) {}

  void store(std::uint64_t offset, Bytes data) const override {
    const std::lock_guard lock(mutex_);
    MemoryDevice::store(offset, data);
    log_.push_back({false, offset, Buffer(data.begin(), data.end())});
  }
  void store_zeroes(std::uint64_t offset, std::uint64_t length, WriteKind kind) const override {
    BlockDevice::store_zeroes(offset, length, kind);
  }
  void flush() const override {
    const std::lock_guard lock(mutex_);
    log_.push_back({true, 0, {}});
  }
  /// Steps so far.
  std::size_t position() const {
    const std::lock_guard lock(mutex_);
    return log_.size();
  }

  /// What a disk may hold when the power goes behind `position` steps: all that was flushed, and
  /// any part of what came later, by sectors of 512 bytes.
  /// @param everything all of it instead
  Buffer after_power_cut(std::size_t position, std::mt19937_64& random, bool everything) const {
    std::size_t flushed = 0;
    for (std::size_t i = 0; i < position; ++i) {
      if (log_[i].flush) flushed = i;
    }
    Buffer disk = initial_;
    for (std::size_t i = 0; i < position; ++i) {
      const Step& step = log_[i];
      const unsigned chance = i < flushed || everything ? 4 : static_cast<unsigned>(random() % 5);
      for (std::uint64_t at = step.offset; at < step.offset + step.bytes.size();) {
        const std::uint64_t end =
            std::min<std::uint64_t>((at / 512 + 1) * 512, step.offset + step.bytes.size());
        if (random() % 4 < chance) {
          std::copy(step.bytes.begin() + static_cast<std::ptrdiff_t>(at - step.offset),
                    step.bytes.begin() + static_cast<std::ptrdiff_t>(end - step.offset),
                    disk.begin() + static_cast<std::ptrdiff_t>(at));
        }
        at = end;
      }
    }
    return disk;
  }

 private:
  const Buffer initial_;
  mutable std::mutex mutex_;
  mutable std::vector<Step> log_;
};

}  // namespace peelfs::test
