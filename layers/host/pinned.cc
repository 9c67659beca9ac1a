#include "host/pinned.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/host_call.h"
#include "peelfs/error.h"

namespace peelfs {

namespace {

int pin_named(const std::string& path, struct stat& status) {
  const HostCall call(path);
  const int fd = ::open(path.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) throw Error::system(errno, "cannot open " + path);
  if (fstat(fd, &status) != 0) {
    const int error_number = errno;
    ::close(fd);
    throw Error::system(error_number, "cannot examine " + path);
  }
  return fd;
}

/// @return one component below a directory, or -1 with errno. With O_NOFOLLOW a link is found as
///   what it is; with O_PATH and without O_DIRECTORY an automount is found untriggered.
int pin_below(int directory, const std::string& name) {
  open_how how{};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(syscall(SYS_openat2, directory, name.c_str(), &how, sizeof how));
}

/// Whether looking for a name in this directory would make the host mount something.
bool is_automount(int directory) {
  struct statx extended {};
  if (::statx(directory, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_TYPE, &extended) == 0 &&
      (extended.stx_attributes & STATX_ATTR_AUTOMOUNT) != 0) {
    return true;
  }
  struct statfs filesystem {};
  return ::fstatfs(directory, &filesystem) == 0 && filesystem.f_type == AUTOFS_SUPER_MAGIC;
}

}  // namespace

Pinned Pinned::named(const std::string& path) {
  struct stat status {};
  const int fd = pin_named(path, status);
  return {fd, status};
}

Pinned::~Pinned() {
  if (fd_ >= 0) ::close(fd_);
}

std::string Pinned::what_it_is() const {
  switch (status_.st_mode & static_cast<mode_t>(S_IFMT)) {
    case S_IFREG:
      return "a file";
    case S_IFDIR:
      return "a directory";
    case S_IFLNK:
      return "a symbolic link";
    case S_IFBLK:
      return "a block device";
    case S_IFCHR:
      return "a character device";
    case S_IFIFO:
      return "a FIFO";
    case S_IFSOCK:
      return "a socket";
    default:
      return "no regular file";
  }
}

Folder::Folder(const std::string& path) : Folder(Pinned::named(path)) {
  if (!pin_.is_directory()) {
    throw Error(Fault::usage, path + " is no directory").with_errno(ENOTDIR);
  }
}

Folder::Folder(Pinned pin) : pin_(std::move(pin)) {
  std::error_code failed;
  path_ =
      std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(pin_.descriptor()), failed);
  if (failed) {
    throw Error::system(failed.value(), "cannot tell where a directory lies")
        .advice("see that /proc is mounted");
  }
}

std::optional<Pinned> Folder::find(const std::filesystem::path& relative,
                                   Obstacle& obstacle) const {
  std::optional<Pinned> at;
  std::filesystem::path so_far = path_;
  for (const std::filesystem::path& name : relative) {
    if (at) {
      if (!at->is_directory()) {
        obstacle = {at->is_file() ? ENOTDIR : 0, so_far.string() + " is " + at->what_it_is()};
        return std::nullopt;
      }
      if (is_automount(at->descriptor())) {
        obstacle = {0, "something would be mounted on " + so_far.string()};
        return std::nullopt;
      }
    }
    so_far /= name;
    const int fd = pin_below(at ? at->descriptor() : pin_.descriptor(), name.string());
    if (fd < 0) {
      const int error_number = errno;
      obstacle = {error_number, ""};
      if (error_number == EXDEV) {
        obstacle = {0, "another filesystem is mounted on " + so_far.string()};
      } else if (error_number == ENOSYS) {
        obstacle = {0, "this kernel cannot look beneath a directory safely (Linux 5.6 can)"};
      }
      return std::nullopt;
    }
    struct stat status {};
    if (fstat(fd, &status) != 0) {
      obstacle = {errno, ""};
      ::close(fd);
      return std::nullopt;
    }
    at.emplace(fd, status);
    if (S_ISLNK(status.st_mode)) {
      obstacle = {0, so_far.string() + " is a symbolic link", true};
      return std::nullopt;
    }
  }
  return at;
}

}  // namespace peelfs
