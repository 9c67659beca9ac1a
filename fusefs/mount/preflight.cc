#include "mount/preflight.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "mount/process.h"
#include "peelfs/error.h"

namespace peelfs {
namespace {

/// mount(2) takes a source of one page at most.
constexpr std::size_t kFsnameLimit = 3000;

constexpr std::array<std::string_view, 9> kPassedOn{
    "nodev", "dev", "nosuid", "suid", "noexec", "exec", "noatime", "atime", "dirsync"};
/// True of every mount of ours, or the kernel's own choice anyway.
constexpr std::array<std::string_view, 6> kImplied{
    "ro", "default_permissions", "defaults", "relatime", "async", "sync"};

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::size_t parse_max_read(std::string_view text) {
  std::size_t bytes = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (failure != std::errc() || end != text.data() + text.size() || bytes < 4096) {
    throw Error(Fault::usage, "the mount option max_read is wrong")
        .found(std::string(text))
        .expected("a number of bytes from 4096 to " + std::to_string(kMaxReadSize));
  }
  return std::min(bytes, kMaxReadSize);
}

void check_device() {
  struct stat status {};
  if (::stat("/dev/fuse", &status) != 0) {
    throw Error::system(errno, "there is no /dev/fuse")
        .advice(
            "load the module (modprobe fuse as root); in a container, start it with "
            "--device /dev/fuse; peelfs ls, cat and export need no mount");
  }
  if (::access("/dev/fuse", R_OK | W_OK) != 0) {
    throw Error(Fault::denied, "/dev/fuse cannot be opened")
        .found("mode " +
               [&] {
                 std::array<char, 8> digits{};
                 const auto [end, failure] = std::to_chars(
                     digits.data(), digits.data() + digits.size(), status.st_mode & 07777U, 8);
                 return "0" + std::string(digits.data(), end);
               }())
        .expected("0666, as udev sets it")
        .advice(
            "ask the administrator for access to /dev/fuse; peelfs ls, cat and export need none");
  }
}

void check_fusermount() {
  if (::geteuid() == 0) return;
  // fusermount3 without the set-user-id bit is no failure yet: file capabilities or a user
  // namespace may be enough.
  std::string refused;
  if (!find_program("fusermount3", &refused)) {
    if (!refused.empty()) {
      throw Error(Fault::denied, "no fusermount3 here is trusted")
          .found(refused)
          .expected("one that belongs to root, in a folder of root's")
          .advice("repair its owner and mode (apt install --reinstall fuse3), or mount as root");
    }
    throw Error(Fault::missing, "fusermount3 is not installed")
        .expected("it in PATH or in /usr/bin: it mounts for ordinary users")
        .advice("install the package fuse3, or mount as root");
  }
}

void check_directory(const MountPoint& at) {
  const uid_t user = ::geteuid();
  if (user == 0) return;
  struct stat status {};
  if (::fstat(at.directory(), &status) != 0) {
    throw Error::system(errno, "cannot use the mount point " + printable(at.path()));
  }
  const std::string held = "/proc/self/fd/" + std::to_string(at.directory());
  if (::access(held.c_str(), W_OK | X_OK) != 0 ||
      ((status.st_mode & S_ISVTX) != 0 && status.st_uid != user)) {
    throw Error(Fault::denied, "you may not mount on " + printable(at.path()))
        .found("it belongs to user id " + std::to_string(status.st_uid))
        .expected("a directory of your own (user id " + std::to_string(user) +
                  "), or one that you may write to")
        .advice("make a directory of your own, for example: mkdir ~/p");
  }
}

}  // namespace

std::string escape_option(std::string_view option) {
  std::string escaped;
  for (const char c : option) {
    if (c == ',' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

FuseOptions fuse_options(const MountOptions& options) {
  FuseOptions result;
  result.list = {options.read_only ? "ro" : "rw", "default_permissions", "subtype=peelfs"};
  std::string name = options.fsname.empty() ? "peelfs" : options.fsname;
  if (name.size() > kFsnameLimit) name = name.substr(0, kFsnameLimit) + "...";
  result.list.push_back("fsname=" + name);
  if (options.allow_other) result.list.emplace_back("allow_other");
  result.max_read = kMaxReadSize;
  for (const std::string& option : options.kernel_options) {
    if (option.starts_with("max_read=")) {
      result.max_read = parse_max_read(std::string_view(option).substr(9));
    } else if (contains(kPassedOn, option)) {
      result.list.push_back(option);
    } else if (!contains(kImplied, option)) {
      throw Error(Fault::usage, "the mount option is not known")
          .found(printable(option))
          .expected("nodev, nosuid, noexec, noatime, max_read=BYTES and their opposites")
          .advice("leave it out; peelfs --help lists the options");
    }
  }
  result.list.push_back("max_read=" + std::to_string(result.max_read));
  return result;
}

MountPoint check_mount(const MountOptions& options) {
  static_cast<void>(fuse_options(options));  // for what it refuses
  check_device();
  check_fusermount();
  MountPoint at(options.mountpoint);
  check_directory(at);
  return at;
}

}  // namespace peelfs
