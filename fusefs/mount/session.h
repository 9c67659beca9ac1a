// One mounted session of libfuse: its threads, its end, and the notifications to the kernel
// meanwhile.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "mount/fuse_server.h"
#include "mount/mount.h"
#include "mount/mount_point.h"
#include "mount/process.h"

struct fuse_session;

namespace peelfs {

class Session {
 public:
  /// Mounts. Call it before there are threads: it borrows standard error.
  /// @param mountpoint outlives it @throws Error
  Session(FuseServer& server, const MountOptions& options, const MountPoint& mountpoint);
  /// Ends it, if end() was not called.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Starts the threads and waits until the kernel has agreed on a protocol.
  /// @throws Error when it does not
  void start();

  /// Readable once the session has ended by itself, because it was unmounted from outside.
  int ended_fd() const noexcept { return ended_.get(); }

  /// Tells the kernel what to forget. Not from a thread of libfuse's.
  void forget(const ViewChanges& changes);

  /// Drops what the kernel has cached of a file's bytes. Not from a thread of libfuse's.
  void invalidate(InodeNumber inode);

  /// Waits for the requests that are being served, stops the threads, and unmounts if it is still
  /// mounted.
  void end() noexcept;

  /// Unmounts without waiting for anything; the process must end next.
  void detach() noexcept;

  /// st_dev of the mount.
  dev_t device() const noexcept { return device_; }

 private:
  void run();
  bool still_mounted() const noexcept;

  FuseServer& server_;
  const MountPoint& mountpoint_;
  fuse_session* session_ = nullptr;
  dev_t device_ = 0;
  UniqueFd ended_;
  std::thread loop_;
  std::atomic<int> loop_result_{0};
};

}  // namespace peelfs
