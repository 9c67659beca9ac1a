// A device as a file of the mount: reading, holes, and the attributes that come from the device.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/ahead.h"
#include "mount/lanes.h"
#include "mount/log.h"
#include "peelfs/block_device.h"
#include "peelfs/error.h"
#include "peelfs/host_file.h"

namespace peelfs {

/// The error (ESTALE) for a program that has a device open which is not in the tree any more.
Error gone_from_tree();

/// Thread-safe. Lives as long as a program has it open, also when a newer tree has replaced it.
class DeviceFile : public std::enable_shared_from_this<DeviceFile> {
 public:
  using Sources = std::vector<std::shared_ptr<const HostFile>>;

  /// @param sources the host files that its bytes come from
  /// @param lane of the requests that touch these sources
  DeviceFile(std::string name, DevicePtr device, Sources sources, std::shared_ptr<Lane> lane,
             timespec mounted);

  /// The lane in which the caller runs every call here that may read or write a source.
  const std::shared_ptr<Lane>& lane() const noexcept { return lane_; }

  const std::string& name() const noexcept { return name_; }
  const DevicePtr& device() const noexcept { return device_; }
  std::uint64_t size() const noexcept { return device_->size(); }
  /// When it was last written here, or else its source was changed; of a block device, whose time
  /// says nothing, when it was mounted.
  timespec modified() const noexcept;

  /// Reads up to scratch.size() bytes, as peelfs::lend() does; fewer only at the end of the device:
  /// to the kernel a short answer means the end of the file.
  /// @param ahead the reader's object for reading ahead, or null
  /// @return false: the bytes that were handed over may be wrong. @throws Error
  bool lend(std::uint64_t offset, MutableBytes scratch, Ahead* ahead,
            const std::function<void(std::span<const iovec>)>& hand_over) const;

  /// Writes what lies inside the device, as far as there is space for it; at and behind its end
  /// there is none, as on a block device.
  /// @return the number of bytes, at least 1 unless `bytes` is empty; those behind are as they were
  /// @throws Error
  std::size_t write(std::uint64_t offset, Bytes bytes) const;

  /// Makes the part of a range that lies inside the device read as zero. @throws Error
  void zero(std::uint64_t offset, std::uint64_t length, WriteKind kind) const;

  /// Called when another device takes its place: from then on reading and writing fail with ESTALE.
  void retire() const noexcept { retired_.store(true, std::memory_order_release); }
  bool retired() const noexcept { return retired_.load(std::memory_order_acquire); }
  /// @throws gone_from_tree()
  void check_current() const;

  /// Its bytes have been written, or may be through another device: see cache_holds().
  void set_shared() const noexcept { shared_.store(true, std::memory_order_release); }

  /// SEEK_DATA or SEEK_HOLE of lseek(2). What cannot be told, or not in a bounded time, counts as
  /// data.
  /// @param interrupted asked now and then; true makes it give up with EINTR
  /// @return the offset. @throws Error with ENXIO when there is none, or EINTR, or ESTALE
  std::uint64_t seek(std::uint64_t offset, int whence,
                     const std::function<bool()>& interrupted) const;

  /// st_blocks: 512-byte units, from above, and below size / 512 whenever there may be holes, for
  /// that is how cp and tar decide whether to look for them. Bounded cost, kept until something is
  /// written anywhere. Answers soon even if a source hangs.
  struct Blocks {
    std::uint64_t count = 0;
    bool settled = false;  ///< false: the sources have not answered; it says "there may be holes"
  };
  Blocks blocks() const noexcept;

  /// Whether pages that the kernel has cached may be used again by the next open: not once a source
  /// has changed or been written to here, and never above a block device, whose changes nothing
  /// tells.
  bool cache_holds() const noexcept;

  /// Logs that it failed to do something ("read", "write"), limited in rate. While another program
  /// changes a source, a read that fails is not logged as an error: it is to be expected.
  void log_failure(LogLevel level, std::string_view what, std::uint64_t offset, std::size_t length,
                   const char* why) const noexcept;

 private:
  std::uint64_t search(std::uint64_t offset, int whence,
                       const std::function<bool()>& interrupted) const;
  bool may_have_holes() const;
  bool sources_changed() const noexcept;
  void look_for_blocks(std::uint64_t as_of) const noexcept;
  void changed() const noexcept;

  std::string name_;
  DevicePtr device_;
  Sources sources_;
  std::shared_ptr<Lane> lane_;
  timespec modified_;
  bool on_block_device_ = false;
  mutable std::atomic<std::uint64_t> blocks_;
  mutable std::atomic<std::uint64_t> blocks_as_of_{0};  ///< how many changes there had been
  mutable std::atomic<std::int64_t> written_{0};        ///< when, nanoseconds; 0: never
  mutable std::atomic<bool> retired_{false};
  mutable std::atomic<bool> shared_{false};
  mutable LogLimiter limiter_;
};

}  // namespace peelfs
