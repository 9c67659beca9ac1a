// Who keeps a mount busy, as far as this user may see.
#pragma once

#include <sys/types.h>

#include <string>

namespace peelfs {

/// Processes with an open or mapped file, a working directory or a program there, and loop devices
/// above its files: "pid 4711 (less), /dev/loop3"; empty when none is seen. Does not ask the mount
/// anything.
/// @param device st_dev of its files; @param mountpoint absolute, without links
std::string describe_holders(dev_t device, const std::string& mountpoint);

}  // namespace peelfs
