// Which files and block devices of the host a run takes its bytes from, and what else of the host
// lies on them.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "world/world.h"

namespace peelfs::world {

struct HostFiles {
  std::vector<Original> files;
  std::set<dev_t> devices;  ///< block devices
};

/// Every file and block device that this process has opened itself (inherited descriptors do not
/// count): while the sources are open these are the sources, their backing and data files, detached
/// headers; and the file that such a block device lies on itself (a loop device).
HostFiles opened_host_files();

/// A file as an Original; empty when it is not there.
std::vector<Original> original_at(const std::string& path);

/// The filesystems mounted on the host that lie on any of these: they change when those are
/// written.
std::vector<dev_t> filesystems_on(const HostFiles& originals);

/// Block devices of the host that show bytes of these: themselves, and loop devices on them, as
/// paths ("/dev/loop3").
std::vector<std::string> visible_devices(const HostFiles& originals);

}  // namespace peelfs::world
