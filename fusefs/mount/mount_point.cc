#include "mount/mount_point.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include "host/mountinfo.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs {
namespace {

void refuse_own_mount(const std::string& path) {
  const auto mounted = find_mount(path);
  if (!mounted || !mounted->is_peelfs()) return;
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 && (errno == ENOTCONN || errno == ECONNABORTED)) {
    throw Error::system(errno, "a mount whose process has died is still at " + printable(path))
        .advice("free it with: " + shell_line({"fusermount3", "-u", path}));
  }
  throw Error(Fault::denied, "there is a mount of peelfs at " + printable(path) + " already")
      .with_errno(EBUSY)
      .found(printable(mounted->source))
      .advice("end it with: " + shell_line({"peelfs", "umount", path}) +
              ", or choose another directory");
}

Error unusable(int error_number, const std::string& path) {
  return Error::system(error_number, "cannot use the mount point " + printable(path))
      .advice("check the path and your permissions");
}

}  // namespace

MountPoint::MountPoint(const std::string& path) {
  at_.path = resolve_mountpoint(path);
  refuse_own_mount(at_.path);
  const std::size_t slash = at_.path.rfind('/');
  const std::string parent = slash == 0 ? "/" : at_.path.substr(0, slash);
  at_.name = at_.path.size() == 1 ? "." : at_.path.substr(slash + 1);
  parent_.reset(::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent_) {
    throw unusable(errno, at_.path);
  }
  at_.parent = parent_.get();
  directory_.reset(::openat(at_.parent, at_.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!directory_ || ::fstat(directory_.get(), &status) != 0) {
    throw unusable(errno, at_.path);
  }
  if (!S_ISDIR(status.st_mode)) {
    throw Error(Fault::usage, "the mount point " + printable(at_.path) + " is no directory")
        .with_errno(ENOTDIR)
        .found(S_ISREG(status.st_mode) ? "a regular file" : "a special file")
        .expected("an existing directory")
        .advice("the mount point is the last argument, behind the sources");
  }
}

void MountPoint::check_unmoved() const {
  std::error_code failed;
  const auto now =
      std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(directory_.get()), failed);
  if (!failed && now == at_.path) return;
  throw Error(Fault::denied, "the mount point " + printable(at_.path) + " was moved meanwhile")
      .found(failed ? failed.message() : printable(now.string()))
      .advice("mount again, on a directory that nobody else may move");
}

}  // namespace peelfs
