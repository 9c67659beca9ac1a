// What identification and the probes of all layers read of one device, read once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>

#include "peelfs/block_device.h"
#include "peelfs/cancel.h"
#include "peelfs/mutex.h"

namespace peelfs {

/// A device that keeps what was read through it, chunk by chunk, as long as it lives. A storage
/// that wants large requests gets them: a chunk is as long as it likes (see Storage::best_read).
/// Only for the time in which a device is looked at: what is written to it meanwhile is not seen.
class HeadCache final : public BlockDevice {
 public:
  /// @param cancel reads from the device end when it is requested; null: nothing ends them
  explicit HeadCache(DevicePtr device, const Cancel* cancel = nullptr);

  Extent map(std::uint64_t offset, std::uint64_t length) const override;
  void compute(std::uint64_t offset, MutableBytes out) const override;
  std::uint64_t allocated_bytes() const override { return device_->allocated_bytes(); }
  std::string describe() const override { return device_->describe(); }

 private:
  static constexpr std::uint64_t kLeastChunk = 64U << 10U;
  static constexpr std::uint64_t kMostChunk = 4U << 20U;
  /// What is beyond is read past the cache. More than identification may copy.
  static constexpr std::uint64_t kMostBytes = 16U << 20U;

  /// Reads the chunks of a range that are not there yet, neighbours by one request. @throws Error
  void fetch(std::uint64_t offset, std::uint64_t end) const PEELFS_REQUIRES(mutex_);
  void read_chunks(std::uint64_t begin, std::uint64_t end) const PEELFS_REQUIRES(mutex_);

  const DevicePtr device_;
  const std::uint64_t chunk_;  ///< a power of two
  const Cancel* const cancel_;
  mutable Mutex mutex_;
  /// Bytes of one request, or a part of them: nothing is copied for being kept.
  struct Chunk {
    std::shared_ptr<const std::byte[]> memory;
    std::size_t begin = 0;
    std::size_t length = 0;
    Bytes bytes() const { return {memory.get() + begin, length}; }
  };
  /// By where they begin.
  mutable std::map<std::uint64_t, Chunk> chunks_ PEELFS_GUARDED_BY(mutex_);
  /// Chunks that are read past the cache.
  mutable std::set<std::uint64_t> unreadable_ PEELFS_GUARDED_BY(mutex_);
  mutable std::uint64_t bytes_ PEELFS_GUARDED_BY(mutex_) = 0;  ///< in chunks_
};

}  // namespace peelfs
