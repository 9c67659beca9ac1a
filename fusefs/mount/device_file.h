// A device as a file of the mount: reading, holes, and the attributes that come from the device.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "mount/log.h"
#include "peelfs/block_device.h"
#include "peelfs/host_file.h"

namespace peelfs {

/// Thread-safe. Lives as long as anybody has it open, also when a newer tree has replaced it.
class DeviceFile {
 public:
  using Sources = std::vector<std::shared_ptr<const HostFile>>;

  /// @param sources the host files that its bytes come from
  DeviceFile(std::string name, DevicePtr device, Sources sources, timespec mounted);

  const std::string& name() const noexcept { return name_; }
  const DevicePtr& device() const noexcept { return device_; }
  std::uint64_t size() const noexcept { return device_->size(); }
  /// When the source was last changed; of a block device, whose time says nothing, when it was
  /// mounted.
  timespec modified() const noexcept { return modified_; }

  /// Reads up to out.size() bytes; fewer only at the end of the device: to the kernel a short
  /// answer means the end of the file.
  /// @return the number of bytes. @throws Error
  std::size_t read(std::uint64_t offset, MutableBytes out) const;

  /// SEEK_DATA or SEEK_HOLE of lseek(2). What cannot be told, or not in a bounded time, counts as
  /// data.
  /// @param interrupted asked now and then; true makes it give up with EINTR
  /// @return the offset. @throws Error with ENXIO when there is none, or EINTR
  std::uint64_t seek(std::uint64_t offset, int whence,
                     const std::function<bool()>& interrupted) const;

  /// st_blocks: 512-byte units, from above, and below size / 512 whenever there may be holes, for
  /// that is how cp and tar decide whether to look for them. Bounded cost, kept once known.
  std::uint64_t blocks() const noexcept;

  /// Whether pages that the kernel has cached may be used again by the next open: not once a source
  /// has changed, and never above a block device, whose changes nothing tells.
  bool cache_holds() const noexcept;

  /// Logs a read that failed, limited in rate.
  void log_failure(std::uint64_t offset, std::size_t length, const char* why) const noexcept;

 private:
  bool may_have_holes() const;

  std::string name_;
  DevicePtr device_;
  Sources sources_;
  timespec modified_;
  bool on_block_device_ = false;
  mutable std::atomic<std::uint64_t> blocks_;
  mutable LogLimiter limiter_;
};

}  // namespace peelfs
