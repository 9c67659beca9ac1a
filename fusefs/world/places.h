// Where devices of the host are found, made anew without them: /dev, /run, /sys and /proc. All
// throw Error. `folder` is a filesystem in memory of the world's own.
#pragma once

#include <string>

namespace peelfs::world {

/// A /dev with null, zero, random, the terminals and shared memory, and nothing else.
void make_dev(const std::string& folder);

/// A /run with everything that is in the host's, except what knows devices or drives them, and with
/// a /run/blkid of our own; libblkid is pointed at it.
/// @param list the text of libblkid's list of devices
void make_run(const std::string& folder, const std::string& list);

/// No block devices in /sys, and nothing in it can be written.
void cover_sys(const std::string& folder);

/// A /proc of the new process namespace, where the kernel grants one; no list of partitions, and no
/// settings of the kernel that can be written.
void cover_proc(const std::string& folder);

}  // namespace peelfs::world
