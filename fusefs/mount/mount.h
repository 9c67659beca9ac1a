// A mount, as the command line sees it: start one, end one, unlock a device in one. No FUSE header
// here.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "peelfs/keys.h"

namespace peelfs {

class Peeling;

/// Exit codes of mounting: those of mount(8).
namespace mount_exit {
inline constexpr int kOk = 0;
inline constexpr int kUsage = 1;     ///< wrong invocation, or no permission
inline constexpr int kSystem = 2;    ///< out of memory, cannot fork
inline constexpr int kFailed = 32;   ///< nothing is mounted
inline constexpr int kPartial = 64;  ///< mounted, but a source could not be opened, or a key or
                                     ///< a name that was given fits nothing
}  // namespace mount_exit

struct MountOptions {
  std::string mountpoint;  ///< as the person wrote it
  std::string fsname;      ///< what the first column of `mount` shows; must not be empty
  bool foreground = false;
  bool allow_other = false;  ///< other users (and root) may read: files 0444, directories 0555
  bool read_only = true;     ///< false: devices may be written, as far as they can be
  /// Devices, by name, whose flat bytes may be written although what is in them is shown through a
  /// layer that translates it (an image file, LUKS, a physical volume).
  std::vector<std::string> writable_containers;
  /// Further options of mount(8) for the kernel: nodev, nosuid, noexec, dev, suid, exec, noatime,
  /// atime, relatime, dirsync, sync, async, max_read=N. `default_permissions` is always on, `ro`
  /// too. Anything else is refused (mount_exit::usage), naming it: the command line drops what
  /// fstab brings along.
  std::vector<std::string> kernel_options;
  unsigned threads = 0;      ///< that serve requests; 0: as many as suit the machine
  std::string log_file;      ///< empty: standard error in the foreground, syslog otherwise
  bool quiet = false;        ///< no warnings on standard error
  bool debug = false;        ///< log every request
  bool auto_unmount = true;  ///< the mount point is freed even if the process is killed by SIGKILL
};

/// Mounts. Forks first (unless `foreground`); the child then calls `open`, which opens the sources
/// and may ask for passphrases on the terminal, mounts, and only then leaves the terminal. The
/// caller's process returns once the mount is ready to use or has failed; in the foreground, once
/// it has ended. Call it before any other thread exists. Warnings of the Peeling and reasons of a
/// failure go to standard error.
/// @return an exit code for the caller's process, see mount_exit
int run_mount(const MountOptions& options, const std::function<std::shared_ptr<Peeling>()>& open);

struct UnmountOptions {
  bool lazy = false;  ///< detach a busy mount now; it ends when its last file is closed
  /// How long to wait for the process to release its sources once nothing holds the mount any more.
  std::chrono::seconds timeout{60};
};

/// Ends the mount and returns only when its process has released every source (with `lazy`, when it
/// is detached).
/// @throws Error: usage when `mountpoint` is no mount of peelfs, denied, io with EBUSY when it is
///   in use (naming by whom, where that can be told) or with ETIMEDOUT
void request_unmount(const std::string& mountpoint, const UnmountOptions& options = {});

/// Tries a key on a locked device of a mount; what is inside appears there.
/// @param name flat name, UUID, or anything else that Catalog::find understands
/// @return nullopt when it is open now, otherwise why not (try another key)
/// @throws Error: usage when `mountpoint` is no mount of peelfs, when it has no such device or it
///   is not locked; denied when the mount belongs to another user
std::optional<std::string> request_unlock(const std::string& mountpoint, const std::string& name,
                                          const Credential& key);

/// The flat names of the devices of a mount that wait for a key, sorted.
/// @throws Error like request_unlock
std::vector<std::string> request_locked(const std::string& mountpoint);

}  // namespace peelfs
