// Mounting through a descriptor. libfuse mounts on a path, which may lead to another directory by
// then.
#pragma once

#include <string>

#include "mount/mount_point.h"
#include "mount/preflight.h"

namespace peelfs {

/// Mounts on the directory that is held: by mount(2) where this process may, otherwise by
/// fusermount3, which prints its reasons on standard error.
/// @param why takes the reason of a failure, as far as it is not printed
/// @return the connection, a descriptor of /dev/fuse; -1: it has failed
int mount_fuse(const MountPoint& at, const FuseOptions& options, std::string& why);

}  // namespace peelfs
