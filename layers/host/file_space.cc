// Space in a host file, before anything is written there.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "peelfs/error.h"
#include "peelfs/host_file.h"

namespace peelfs {

bool HostFile::may_lack_space(std::uint64_t end) const {
  constexpr std::uint64_t kStatBlock = 512;
  struct stat status {};
  if (block_device_ || fstat(fd_, &status) != 0) return false;
  const auto size = static_cast<std::uint64_t>(status.st_size);
  return end > size || static_cast<std::uint64_t>(status.st_blocks) * kStatBlock < size;
}

void HostFile::claim(std::uint64_t offset, std::uint64_t length) const {
  if (!may_lack_space(offset + length)) return;
  while (::fallocate(fd_, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(length)) != 0) {
    if (errno == EINTR) continue;
    if (errno != ENOSPC && errno != EDQUOT && errno != EFBIG) return;
    throw Error::system(errno, "taking space for " + std::to_string(length) + " bytes of " + path_ +
                                   " at offset " + std::to_string(offset));
  }
}

}  // namespace peelfs
