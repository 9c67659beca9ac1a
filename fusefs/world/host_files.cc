#include "world/host_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "host/mountinfo.h"
#include "mount/control_client.h"
#include "mount/descriptors.h"
#include "peelfs/error.h"

namespace peelfs::world {
namespace {

namespace fs = std::filesystem;

Original made(const std::string& path, const struct stat& status) {
  return {path, status.st_dev, status.st_ino, status.st_nlink > 1};
}

/// "7:0\n" in a file of sysfs
std::optional<dev_t> device_in(const fs::path& path) {
  unsigned major_number = 0;
  unsigned minor_number = 0;
  char colon = 0;
  std::ifstream file(path);
  if (!(file >> major_number >> colon >> minor_number) || colon != ':') return std::nullopt;
  return makedev(major_number, minor_number);
}

fs::path folder_of(dev_t device) {
  return "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
}

/// Adds a block device and what it lies on: its whole disk, the members of a mapped device, the
/// file behind a loop device.
void add_with_what_is_below(dev_t device, HostFiles& to) {
  if (!to.devices.insert(device).second) return;
  const fs::path folder = folder_of(device);
  std::error_code ignored;
  if (fs::exists(folder / "partition", ignored)) {
    const fs::path own = fs::canonical(folder, ignored);
    if (const auto disk = device_in(own.parent_path() / "dev")) add_with_what_is_below(*disk, to);
  }
  for (const auto& member : fs::directory_iterator(folder / "slaves", ignored)) {
    if (const auto below = device_in(member.path() / "dev")) add_with_what_is_below(*below, to);
  }
  std::string file;
  if (std::ifstream backing(folder / "loop/backing_file"); std::getline(backing, file)) {
    for (Original& original : original_at(file)) to.files.push_back(std::move(original));
  }
}

/// The block device that a filesystem of the host lies on; 0: none that is known.
dev_t device_under(const MountEntry& mount) {
  if (major(mount.device) != 0) return mount.device;
  // btrfs numbers its mounts itself.
  struct stat status {};
  const bool named = mount.source.starts_with("/dev/") &&
                     ::stat(mount.source.c_str(), &status) == 0 && S_ISBLK(status.st_mode);
  return named ? status.st_rdev : 0;
}

bool same(const Original& one, const Original& other) {
  return one.device == other.device && one.inode == other.inode;
}

/// Whether a block device is, or lies on, one of the originals.
bool lies_on(dev_t device, const HostFiles& originals) {
  HostFiles below;
  add_with_what_is_below(device, below);
  for (const dev_t one : below.devices) {
    if (originals.devices.contains(one)) return true;
  }
  return std::any_of(below.files.begin(), below.files.end(), [&](const Original& file) {
    return std::any_of(originals.files.begin(), originals.files.end(),
                       [&](const Original& original) { return same(file, original); });
  });
}

void add_block_device(dev_t device, HostFiles& to) {
  HostFiles below;
  add_with_what_is_below(device, below);
  // Not what is below: other partitions of the same disk are no originals.
  to.devices.insert(device);
  to.files.insert(to.files.end(), below.files.begin(), below.files.end());
}

/// Adds one of the files that a mount of peelfs takes its bytes from.
void add_below_mount(const MountEntry& mount, const std::string& path, HostFiles& to) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw Error::system(errno, "cannot keep " + printable(path) + " from being written, which " +
                                   printable(mount.mountpoint) + " takes bytes from")
        .advice("run this where that file can be seen");
  }
  if (S_ISBLK(status.st_mode)) add_block_device(status.st_rdev, to);
  if (!S_ISREG(status.st_mode)) return;
  const Original file = made(path, status);
  // A file must not be in the list twice: the second time its path may be covered already, and
  // could not be found.
  if (std::none_of(to.files.begin(), to.files.end(),
                   [&](const Original& other) { return same(file, other); })) {
    to.files.push_back(file);
  }
}

}  // namespace

HostFiles opened_host_files() {
  HostFiles found;
  std::error_code ignored;
  for (const int descriptor : open_descriptors()) {
    struct stat status {};
    if (is_inherited(descriptor) || ::fstat(descriptor, &status) != 0) continue;
    if (S_ISBLK(status.st_mode)) {
      add_block_device(status.st_rdev, found);
    } else if (S_ISREG(status.st_mode) && status.st_nlink > 0) {
      found.files.push_back(
          made(fs::read_symlink("/proc/self/fd/" + std::to_string(descriptor), ignored), status));
    }
  }
  return found;
}

void add_what_mounts_show(HostFiles& originals) {
  const std::vector<MountEntry> mounts = peelfs_mounts();
  // What is added may lie in a mount of peelfs, too.
  for (std::size_t i = 0; i < originals.files.size(); ++i) {
    const dev_t device = originals.files[i].device;
    const auto mount = std::find_if(mounts.begin(), mounts.end(),
                                    [&](const MountEntry& one) { return one.device == device; });
    if (mount == mounts.end() || !originals.mounts.insert(device).second) continue;
    for (const std::string& path : request_opened(*mount)) add_below_mount(*mount, path, originals);
  }
}

std::set<int> descriptors_on(const HostFiles& originals) {
  HostFiles below;
  for (const dev_t device : originals.devices) add_with_what_is_below(device, below);
  std::set<int> found;
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
    struct stat status {};
    if (::fstat(descriptor, &status) != 0) continue;
    const auto is_it = [&](const Original& original) {
      return original.device == status.st_dev && original.inode == status.st_ino;
    };
    const bool device = S_ISBLK(status.st_mode) && (below.devices.contains(status.st_rdev) ||
                                                    lies_on(status.st_rdev, originals));
    if (device || S_ISDIR(status.st_mode) || originals.mounts.contains(status.st_dev) ||
        std::any_of(originals.files.begin(), originals.files.end(), is_it)) {
      found.insert(descriptor);
    }
  }
  return found;
}

std::vector<Original> original_at(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  std::error_code error;
  const fs::path whole = fs::canonical(path, error);
  return {made(error ? path : whole.string(), status)};
}

std::vector<dev_t> filesystems_on(const HostFiles& originals) {
  std::vector<dev_t> found;
  for (const MountEntry& mount : read_mounts()) {
    const dev_t device = device_under(mount);
    if (originals.mounts.contains(mount.device) || (device != 0 && lies_on(device, originals))) {
      found.push_back(mount.device);
    }
  }
  return found;
}

std::vector<std::string> visible_devices(const HostFiles& originals) {
  std::set<std::string> names;
  std::error_code ignored;
  for (const dev_t device : originals.devices) {
    names.insert(fs::canonical(folder_of(device), ignored).filename());
  }
  for (const auto& entry : fs::directory_iterator("/sys/block", ignored)) {
    const auto device = device_in(entry.path() / "dev");
    if (device && lies_on(*device, originals)) names.insert(entry.path().filename());
  }
  std::vector<std::string> found;
  for (const std::string& name : names) {
    if (!name.empty()) found.push_back("/dev/" + name);
  }
  return found;
}

}  // namespace peelfs::world
