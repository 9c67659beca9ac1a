// Filesystems that were searched for disk images before: twenty snapshots of one filesystem are
// mostly the same bytes, and hold the same images in the same places.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/search.h"
#include "peelfs/block_device.h"
#include "peelfs/byte_range.h"
#include "peelfs/mutex.h"

namespace peelfs::fs {

/// Shows a device as it is and keeps what was read of it.
class WitnessDevice : public BlockDevice {
 public:
  explicit WitnessDevice(DevicePtr device);
  Extent map(std::uint64_t offset, std::uint64_t length) const override;
  void compute(std::uint64_t offset, MutableBytes out) const override;
  std::string describe() const override { return device_->describe(); }

  /// @return what was read, sorted and merged; nullopt when a read failed or there was too much
  std::optional<std::vector<ByteRange>> ranges() const;

 private:
  const DevicePtr device_;
  mutable Mutex mutex_;
  mutable std::vector<ByteRange> ranges_ PEELFS_GUARDED_BY(mutex_);
  mutable bool useless_ PEELFS_GUARDED_BY(mutex_) = false;
};

/// Searches of one run. A search is decided by the bytes that it reads, so another device on which
/// all of these are the same has the same images. Not thread-safe.
class SearchMemory {
 public:
  /// @param uuid of the filesystem: what has another one is not compared
  /// @return what an earlier search found, if every byte that it read is the same on this device.
  ///   The images in it are those of the other device: reopen() them.
  const SearchResult* find(const BlockDevice& device, std::string_view uuid) const;

  /// @param device that was searched, without a witness
  void keep(DevicePtr device, std::string uuid, std::vector<ByteRange> ranges, SearchResult result);

 private:
  struct Known {
    DevicePtr device;
    std::string uuid;
    std::vector<ByteRange> ranges;
    SearchResult result;
  };
  std::list<Known> known_;  ///< latest first
};

/// Whether a range holds the same bytes on both. What lies in the same place is not read.
/// @throws Error when it cannot be read
bool same_bytes(const BlockDevice& a, const BlockDevice& b, const ByteRange& range);

}  // namespace peelfs::fs
