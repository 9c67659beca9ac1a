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
  std::set<dev_t> mounts;   ///< mounts of peelfs that show their bytes
};

/// Every file and block device that this process has opened itself (inherited descriptors do not
/// count): while the sources are open these are the sources, their backing and data files, detached
/// headers; and the file that such a block device lies on itself (a loop device).
HostFiles opened_host_files();

/// For originals that are devices of another mount of peelfs, adds the files that their bytes come
/// from: the files that its process has open, and what is below those.
/// @throws Error when that is not known: then the files could not be protected from being written
void add_what_mounts_show(HostFiles& originals);

/// Those of descriptors 0 to 2 through which any of these could be written, and directories, from
/// which everything on the host could be reached.
std::set<int> descriptors_on(const HostFiles& originals);

/// A file as an Original; empty when it is not there.
std::vector<Original> original_at(const std::string& path);

/// The filesystems mounted on the host that lie on any of these, and mounts of peelfs that show
/// them: they change when those are written, and the reverse.
std::vector<dev_t> filesystems_on(const HostFiles& originals);

/// Block devices of the host that show bytes of these: themselves, and loop devices on them, as
/// paths ("/dev/loop3").
std::vector<std::string> visible_devices(const HostFiles& originals);

}  // namespace peelfs::world
