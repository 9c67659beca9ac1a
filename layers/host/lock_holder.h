// The processes that hold a lock, as far as /proc tells: for messages only.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "peelfs/host_file.h"

namespace peelfs {

/// The processes with an open file description lock on this byte of the file (the lock of `file`
/// itself does not count): "qemu-system-x86 (pid 4711)". The kernel names no owner of such a lock,
/// so every process is asked what its descriptors hold (/proc/PID/fdinfo); those of other users,
/// and of programs that hide their memory as peelfs does, do not answer.
/// @return never empty: "a process that this user may not look into" if none was found
std::string lock_holder(const HostFile& file, off_t byte);
/// The same, one by one. @return empty: none was found
std::vector<std::string> lock_holders(const HostFile& file, off_t byte);

}  // namespace peelfs
