#include "host/file_identity.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace peelfs {

namespace {

std::optional<FileId> look(int directory, const char* path, int flags) {
  struct statx status {};
  constexpr int kQuietly = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;
  if (::statx(directory, path, flags | kQuietly, STATX_TYPE | STATX_INO, &status) != 0) {
    return std::nullopt;
  }
  if (S_ISBLK(status.stx_mode)) {
    return FileId{true, makedev(status.stx_rdev_major, status.stx_rdev_minor), 0};
  }
  return FileId{false, makedev(status.stx_dev_major, status.stx_dev_minor),
                static_cast<ino_t>(status.stx_ino)};
}

}  // namespace

std::optional<FileId> identity_of(const std::string& path) {
  return look(AT_FDCWD, path.c_str(), 0);
}

std::optional<FileId> identity_of(int descriptor) {
  return look(descriptor, "", AT_EMPTY_PATH);
}

}  // namespace peelfs
