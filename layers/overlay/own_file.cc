#include "overlay/own_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>

#include "host/in_use.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs::overlay {

namespace {

/// A descriptor for looking; closed at the end of the scope.
class Pinned {
 public:
  explicit Pinned(const std::string& path)
      : fd_(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)) {}
  ~Pinned() {
    if (fd_ >= 0) ::close(fd_);
  }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Error no_file(const std::string& path, mode_t mode) {
  if (S_ISLNK(mode)) {
    return Error(Fault::denied, path + " is a symbolic link, and an overlay is not followed")
        .advice("name the directory that the overlay lies in");
  }
  const std::string what = S_ISBLK(mode) ? "a block device" : "no regular file";
  return Error(Fault::usage, path + " cannot be the overlay: it is " + what)
      .advice("take a directory for overlays in which no sources lie");
}

std::string mode_text(mode_t mode) {
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "%04o", static_cast<unsigned>(mode & 07777U));
  return text.data();
}

void check_owner(const std::string& path, const struct stat& status, const std::string& what) {
  const uid_t user = ::geteuid();
  const std::string told = "; if it is meant so, say --accept-shared";
  if (status.st_uid != user && status.st_uid != 0) {
    throw Error(Fault::denied, path + " belongs to somebody else, who decides what is in " + what)
        .found("user id " + std::to_string(status.st_uid))
        .expected("yours, " + std::to_string(user) + ", or root's")
        .advice("take a directory of your own" + told)
        .with_errno(EACCES);
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) == 0) return;
  throw Error(Fault::denied, path + " may be written by others, who decide then what is in " + what)
      .found("mode " + mode_text(status.st_mode))
      .expected("write permission for its owner only")
      .advice(shell_line({"chmod", "go-w", path}) + told)
      .with_errno(EACCES);
}

}  // namespace

std::shared_ptr<const HostFile> open_overlay_file(const std::string& path,
                                                  HostFile::Access access) {
  const Pinned pinned(path);
  struct stat status {};
  if (pinned.get() < 0 || ::fstat(pinned.get(), &status) != 0) {
    throw Error::system(errno, "cannot open " + path);
  }
  if (!S_ISREG(status.st_mode)) throw no_file(path, status.st_mode);
  const bool write = access == HostFile::Access::read_write;
  if (write) refuse_in_use(*identity_of(pinned.get()), path);
  const std::string held = "/proc/self/fd/" + std::to_string(pinned.get());
  const int flags = (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  const int fd = ::open(held.c_str(), flags);
  if (fd < 0) throw Error::system(errno, "cannot open " + path);
  return HostFile::adopt(fd, path);
}

void require_own(const std::string& directory, const std::vector<std::string>& paths,
                 bool accept_shared) {
  if (accept_shared) return;
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) return;  // reported when an overlay in it is opened
  check_owner(directory, status, "the overlays there");
  for (const std::string& path : paths) {
    // What is no regular file is refused when it is opened.
    if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    check_owner(path, status, "this overlay");
  }
}

}  // namespace peelfs::overlay
