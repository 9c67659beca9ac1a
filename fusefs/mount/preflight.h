// What must be true before anything is opened or asked: a mount that cannot succeed fails at once,
// and says what to do.
#pragma once

#include <string>
#include <vector>

#include "mount/mount.h"
#include "mount/mount_point.h"

namespace peelfs {

/// Checks the options, the mount point, /dev/fuse and fusermount3.
/// @return the mount point, held: what was checked is what is mounted on
/// @throws Error
MountPoint check_mount(const MountOptions& options);

struct FuseOptions {
  std::vector<std::string> list;  ///< `-o` options for libfuse, each unescaped: "ro", "fsname=..."
  std::size_t max_read = 0;       ///< bytes; libfuse wants it in the list and in the session
};
/// @throws Error(Fault::usage) for one of `kernel_options` that is not known
FuseOptions fuse_options(const MountOptions& options);

/// Escapes commas and backslashes, as libfuse and fusermount3 expect them in fsname= and in lists.
std::string escape_option(std::string_view option);

/// The largest read that the kernel will be told to ask for, in bytes.
inline constexpr std::size_t kMaxReadSize = std::size_t{1} << 20;
/// And to write.
inline constexpr std::size_t kMaxWriteSize = std::size_t{1} << 20;

}  // namespace peelfs
