// The world in which `peelfs try` runs its command: namespaces in which no block device of the host
// exists and the sources cannot be written by any path. It keeps repair tools, which look for
// devices, and mistakes away from the originals. It does not stop a malicious program: that can
// still talk to other programs of the same user.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace peelfs::world {

/// A file of the host that the command must not write: a source, what a source takes bytes from, an
/// overlay. Told by device and inode; the path is where it was found.
struct Original {
  std::string path;
  dev_t device = 0;
  ino_t inode = 0;
  bool linked = false;  ///< it has other names (hard links) on its filesystem
};

/// A device of the mount, as libblkid is to know it.
struct ListedDevice {
  std::string path;
  std::string type, uuid, label;  ///< as libblkid says; empty: unknown
};

/// What a world is made from.
struct Plan {
  std::string folder;      ///< an empty directory of ours; nothing appears in it outside
  std::string mountpoint;  ///< of the mount whose devices the command works on
  std::vector<ListedDevice> devices;
  std::vector<Original> originals;
  std::vector<dev_t> mounted_from_originals;  ///< filesystems of the host that lie on a source
};

/// Makes the world, in the first process of new namespaces (see namespaces.h), which has one thread
/// and the privileges of its namespaces. Takes these away in the end.
/// @return what could not be done; "" when everything was: only then may the command be run
std::string build(const Plan& plan);

/// A Plan as text, to be sent through a pipe.
std::vector<std::string> to_words(const Plan& plan);
Plan from_words(const std::vector<std::string>& words);

}  // namespace peelfs::world
