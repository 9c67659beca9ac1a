#include "world/originals.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "host/mountinfo.h"
#include "peelfs/error.h"
#include "world/trees.h"

namespace peelfs::world {
namespace {

/// An O_PATH descriptor of a path, which is never read; empty if it is not there.
UniqueFd point_at(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

bool is(const UniqueFd& file, const Original& original) {
  struct stat status {};
  return file && ::fstat(file.get(), &status) == 0 && status.st_dev == original.device &&
         status.st_ino == original.inode;
}

/// The id of the mount that a descriptor was opened in.
std::uint64_t mount_of(const UniqueFd& file) {
  struct statx status {};
  if (::statx(file.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0 ||
      (status.stx_mask & STATX_MNT_ID) == 0) {
    throw Error(Fault::unsupported, "the kernel does not say which mount a file belongs to");
  }
  return status.stx_mnt_id;
}

/// `path` below `directory`, beginning with "/"; nullopt when it is not.
std::optional<std::string> below(const std::string& path, const std::string& directory) {
  if (directory == "/") return path;
  if (!path.starts_with(directory)) return std::nullopt;
  if (path.size() > directory.size() && path[directory.size()] != '/') return std::nullopt;
  return path.substr(directory.size());
}

std::string joined(const std::string& directory, const std::string& path) {
  return directory == "/" ? path : directory + path;
}

/// Makes a mount read-only, unless another mount lies over it: then no program can reach it.
void make_mount_read_only(const MountEntry& mount) {
  const UniqueFd top = point_at(mount.mountpoint);
  if (top && mount_of(top) == mount.id) {
    set_attributes(mount.mountpoint, MOUNT_ATTR_RDONLY, 0, false);
  }
}

/// One file at one place.
void make_file_read_only(const Original& original, const std::string& path) {
  const UniqueFd file = point_at(path);
  if (!is(file, original)) return;
  const UniqueFd tree = copy_tree(file.get());
  set_attributes(tree, MOUNT_ATTR_RDONLY, 0, false);
  attach(tree, file.get());
}

void protect(const Original& original, const std::vector<MountEntry>& mounts) {
  const UniqueFd file = point_at(original.path);
  const bool found = is(file, original);
  const std::uint64_t id = found ? mount_of(file) : 0;
  const auto own = std::find_if(mounts.begin(), mounts.end(),
                                [&](const MountEntry& mount) { return found && mount.id == id; });
  // It was opened in another way than by this name: all that is known is its filesystem.
  const dev_t device = own == mounts.end() ? original.device : own->device;
  std::optional<std::string> inside;
  if (own != mounts.end() && !original.linked) {
    if (auto rest = below(original.path, own->mountpoint)) inside = joined(own->root, *rest);
  }
  for (const MountEntry& mount : mounts) {
    if (mount.device != device) continue;
    if (!inside) {
      make_mount_read_only(mount);
    } else if (const auto rest = below(*inside, mount.root)) {
      make_file_read_only(original,
                          rest->empty() ? mount.mountpoint : joined(mount.mountpoint, *rest));
    }
  }
}

}  // namespace

void protect_originals(const std::vector<Original>& originals,
                       const std::vector<dev_t>& mounted_from_originals) {
  const std::vector<MountEntry> mounts = read_mounts();
  for (const Original& original : originals) protect(original, mounts);
  for (const MountEntry& mount : mounts) {
    if (std::find(mounted_from_originals.begin(), mounted_from_originals.end(), mount.device) !=
        mounted_from_originals.end()) {
      make_mount_read_only(mount);
    }
  }
}

}  // namespace peelfs::world
