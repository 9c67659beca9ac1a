// Unmounting, and the small process that does it when the daemon can no longer do it itself.
#pragma once

#include <sys/types.h>

#include <string>

#include "mount/mount_point.h"
#include "mount/process.h"

namespace peelfs {

/// Unmounts: as root by umount2(2), otherwise by fusermount3.
/// @throws Error: io with EBUSY when it is in use; denied when it belongs to another user
void unmount(const std::string& mountpoint, bool lazy);
/// The same for a directory that is held open, also if its path leads to another one by now (as
/// root; fusermount3 takes only a path, and checks that it is the user's own mount).
void unmount(const PinnedName& at, bool lazy);

/// Frees the mount point when this process dies without having done so (SIGKILL, a crash): the
/// kernel would leave a mount that answers "Transport endpoint is not connected". It is a process
/// of its own, since a killed process cannot do anything itself; it holds no source, no key and no
/// terminal. libfuse's auto_unmount does not check that what it unmounts is still the same mount;
/// this does.
class UnmountWatcher {
 public:
  /// Forks. Call it before there are threads, open sources or keys.
  /// @param at what is to be unmounted @throws Error
  explicit UnmountWatcher(const PinnedName& at);
  /// Lets the watcher go without unmounting.
  ~UnmountWatcher();
  UnmountWatcher(const UnmountWatcher&) = delete;
  UnmountWatcher& operator=(const UnmountWatcher&) = delete;

  /// From here on the watcher unmounts if this process ends, and if it still is the mount with that
  /// device number.
  void arm(dev_t device);

  /// The mount is gone: the watcher has nothing left to do, and has ended when this returns.
  void dismiss() noexcept;

 private:
  UniqueFd to_watcher_;
  pid_t watcher_ = -1;
};

}  // namespace peelfs
