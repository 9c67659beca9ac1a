// Filesystems that were searched for disk images before: twenty snapshots of one filesystem are
// mostly the same bytes, and hold the same images in the same places.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/search.h"
#include "peelfs/block_device.h"
#include "peelfs/byte_range.h"
#include "peelfs/cancel.h"
#include "peelfs/layer_memory.h"
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
/// all of these are the same has the same images. Thread-safe.
class SearchMemory final : public LayerMemory::Content {
 public:
  /// One filesystem that is to be searched. While the first one with its UUID is searched, others
  /// with that UUID wait for what it finds.
  class Turn {
   public:
    /// @param uuid of the filesystem: what has another one is not compared
    /// @param cancel ends the waiting; null: nothing does @throws cancelled_error()
    Turn(SearchMemory& memory, std::string uuid, const Cancel* cancel);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    /// @return what an earlier search found, if every byte that it read is the same on this device;
    ///   null otherwise. The images in it are those of the other device: reopen() them.
    std::shared_ptr<const SearchResult> find(const BlockDevice& device);

    /// @param device that was searched, without a witness
    /// @return false when a search that ended since find() has kept the same
    bool keep(DevicePtr device, std::vector<ByteRange> ranges, SearchResult result);

   private:
    SearchMemory& memory_;
    const std::string uuid_;
    std::uint64_t seen_ = 0;  ///< the number of the last search that find() knew of
  };

  /// Drops the oldest where there are too many: what later devices cost does not depend on which
  /// of those that were searched at once was done first.
  std::uint64_t mark() override;
  void go_back(std::uint64_t mark) override;

 private:
  struct Known {
    std::uint64_t number = 0;  ///< one more than that of the search that was kept before
    DevicePtr device;
    std::string uuid;
    std::vector<ByteRange> ranges;
    SearchResult result;
  };
  using KnownPtr = std::shared_ptr<const Known>;

  bool knows(const std::string& uuid) const PEELFS_REQUIRES(mutex_);
  /// @return searches of that UUID that were kept later than number `after`, latest first
  std::vector<KnownPtr> known(const std::string& uuid, std::uint64_t after) const;
  static bool fits(const Known& known, const BlockDevice& device);

  /// Held while what was found is compared with what others found meanwhile.
  Mutex keeping_;
  mutable Mutex mutex_ PEELFS_ACQUIRED_AFTER(keeping_);
  Condition ended_;
  std::uint64_t last_ PEELFS_GUARDED_BY(mutex_) = 0;
  std::list<KnownPtr> known_ PEELFS_GUARDED_BY(mutex_);  ///< latest first
  /// How many turns there are, by UUID.
  std::map<std::string, unsigned> turns_ PEELFS_GUARDED_BY(mutex_);
};

/// Whether a range holds the same bytes on both. What lies in the same place is not read.
/// @throws Error when it cannot be read
bool same_bytes(const BlockDevice& a, const BlockDevice& b, const ByteRange& range);

}  // namespace peelfs::fs
