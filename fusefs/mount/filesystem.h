// The FUSE operations: what the kernel asks, answered from the inodes.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "mount/inodes.h"

struct fuse_lowlevel_ops;

namespace peelfs {

class Peeling;

/// Thread-safe. No operation takes a lock while it reads a device, and none waits for refresh().
class Filesystem {
 public:
  /// @param control what stands in .peelfs/control
  /// @param max_read bytes: the largest read that the kernel may ask for
  Filesystem(std::shared_ptr<Peeling> peeling, const InodeTable::Owner& owner, std::string control,
             std::size_t max_read);

  /// To be given to libfuse, with `this` as user data.
  static const fuse_lowlevel_ops& operations();

  /// Takes up the newest catalogue. Call it from one thread at a time, none of libfuse's.
  /// @return what the kernel must be told to forget; new requests see the new tree already
  ViewChanges refresh();

  std::shared_ptr<const InodeView> view() const;
  std::size_t max_read() const noexcept { return max_read_; }

  /// Whether the kernel has agreed on a protocol: requests are served from here on.
  bool ready() const noexcept { return ready_.load(std::memory_order_acquire); }
  void set_ready() noexcept { ready_.store(true, std::memory_order_release); }

 private:
  std::shared_ptr<const InodeView> build();

  std::shared_ptr<Peeling> peeling_;
  std::map<std::string, std::shared_ptr<const HostFile>> files_;
  std::size_t max_read_;
  std::atomic<bool> ready_{false};
  InodeTable table_;
  mutable std::mutex mutex_;
  std::shared_ptr<const InodeView> view_;
};

}  // namespace peelfs
