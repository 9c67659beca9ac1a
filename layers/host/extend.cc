#include "host/extend.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peelfs/error.h"

namespace peelfs {

std::shared_ptr<const HostFile> with_present_size(const HostFile& file) {
  // A descriptor of the same open file description: its locks stay as they are.
  const int fd = ::fcntl(file.descriptor(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) throw Error::system(errno, "cannot open " + file.path() + " again");
  return HostFile::adopt(fd, file.path());
}

std::shared_ptr<const HostFile> extend(const HostFile& file, std::uint64_t size) {
  if (file.is_block_device()) {
    throw Error(Fault::usage, file.path() + " is a block device, which peelfs makes no longer");
  }
  if (!file.writable()) {
    throw Error(Fault::denied, file.path() + " was opened read-only").with_errno(EROFS);
  }
  struct stat status {};
  if (::fstat(file.descriptor(), &status) != 0) {
    throw Error::system(errno, "cannot examine " + file.path());
  }
  const auto fail = [&] {
    throw Error::system(errno,
                        "making " + file.path() + " " + std::to_string(size) + " bytes long");
  };
  if (static_cast<std::uint64_t>(status.st_size) < size) {
    while (::ftruncate(file.descriptor(), static_cast<off_t>(size)) != 0) {
      if (errno != EINTR) fail();
    }
  }
  while (::fsync(file.descriptor()) != 0) {
    if (errno != EINTR) fail();
  }
  return with_present_size(file);
}

}  // namespace peelfs
