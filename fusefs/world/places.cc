#include "world/places.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "peelfs/error.h"
#include "world/trees.h"

namespace peelfs::world {
namespace {

namespace fs = std::filesystem;

bool is_there(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

/// A device node that may be opened: all mounts were made "nodev" before.
void show_node(const std::string& name, const std::string& dev) {
  const UniqueFd tree = copy_tree("/dev/" + name, false);
  set_attributes(tree, 0, MOUNT_ATTR_NODEV, false);
  make_file(dev + "/" + name);
  attach(tree, dev + "/" + name);
}

/// Shows one entry of a directory at another place: the real one, with all that is mounted below.
void show_entry(const fs::directory_entry& entry, const std::string& to) {
  std::error_code ignored;
  if (entry.is_symlink(ignored)) {
    fs::copy_symlink(entry.path(), to, ignored);
    return;
  }
  const bool directory = entry.is_directory(ignored);
  try {
    const UniqueFd tree = copy_tree(entry.path(), true);
    directory ? make_directory(to) : make_file(to);
    attach(tree, to);
  } catch (const Error& error) {
    // It has just gone, or this user may not go there: then there is nothing to show.
    const int number = error.error_number();
    if (number != ENOENT && number != EACCES && number != EPERM) throw;
  }
}

void cover(const std::string& path, const std::string& with) {
  if (is_there(path)) bind(with, path);
}

/// The same thing at the same place, but it cannot be written there.
void make_read_only(const std::string& path) {
  if (!is_there(path)) return;
  const UniqueFd tree = copy_tree(path, true);
  set_attributes(tree, MOUNT_ATTR_RDONLY, 0, true);
  attach(tree, path);
}

}  // namespace

void make_dev(const std::string& folder) {
  const std::string dev = folder + "/dev";
  make_directory(dev);
  for (const char* const name : {"null", "zero", "full", "random", "urandom"}) show_node(name, dev);
  if (is_there("/dev/tty")) show_node("tty", dev);
  if (is_there("/dev/pts")) {
    const UniqueFd terminals = copy_tree("/dev/pts", true);
    set_attributes(terminals, 0, MOUNT_ATTR_NODEV, true);
    make_directory(dev + "/pts");
    attach(terminals, dev + "/pts");
  }
  if (is_there("/dev/shm")) {
    make_directory(dev + "/shm");
    bind("/dev/shm", dev + "/shm", true);
  }
  constexpr std::array<std::array<const char*, 2>, 5> kLinks{{{"/proc/self/fd", "/fd"},
                                                              {"/proc/self/fd/0", "/stdin"},
                                                              {"/proc/self/fd/1", "/stdout"},
                                                              {"/proc/self/fd/2", "/stderr"},
                                                              {"pts/ptmx", "/ptmx"}}};
  for (const auto& [target, name] : kLinks) {
    [[maybe_unused]] const int ignored = ::symlink(target, (dev + name).c_str());
  }
  bind(dev, "/dev", true);
}

void make_run(const std::string& folder, const std::string& list) {
  const std::string tab = folder + "/blkid/blkid.tab";
  make_directory(folder + "/blkid");
  make_file(tab, list);
  // For root, whose environment libblkid trusts; for all others it looks in its usual place.
  ::setenv("BLKID_FILE", tab.c_str(), 1);
  ::unsetenv("BLKID_CONF");
  if (!is_there("/run")) return;
  const std::string run = folder + "/run";
  make_directory(run);
  // Folders of programs that know the host's devices, and the bus over which udisks attaches
  // devices.
  constexpr std::array kHidden{"blkid", "udev", "lvm", "mdadm", "dbus", "cryptsetup"};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/run", error)) {
    const std::string name = entry.path().filename();
    if (std::find(kHidden.begin(), kHidden.end(), name) != kHidden.end()) continue;
    show_entry(entry, fs::path(run) / name);
  }
  if (error) throw Error::system(error.value(), "cannot look into /run");
  make_directory(run + "/blkid");
  bind(folder + "/blkid", run + "/blkid");
  bind(run, "/run", true);
}

void cover_sys(const std::string& folder) {
  if (!is_there("/sys/class")) return;
  const std::string nothing = folder + "/nothing";
  make_directory(nothing);
  for (const char* const path :
       {"/sys/block", "/sys/class/block", "/sys/dev/block", "/sys/devices/virtual/block"}) {
    cover(path, nothing);
  }
  make_read_only("/sys");
}

void cover_proc(const std::string& folder) {
  // Refused where a container has covered parts of /proc: then the old one stays.
  [[maybe_unused]] const int ignored =
      ::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
  const std::string empty = folder + "/empty";
  make_file(empty);
  for (const char* const path : {"/proc/partitions", "/proc/mdstat", "/proc/diskstats"}) {
    cover(path, empty);
  }
  for (const char* const path : {"/proc/sys", "/proc/sysrq-trigger"}) make_read_only(path);
}

}  // namespace peelfs::world
