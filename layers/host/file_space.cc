#include "host/file_space.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "peelfs/error.h"

namespace peelfs {

namespace {

constexpr std::uint64_t stat_block = 512;

bool may_lack_space(const HostFile& file, std::uint64_t end) {
  struct stat status {};
  if (file.is_block_device() || fstat(file.descriptor(), &status) != 0) return false;
  const auto size = static_cast<std::uint64_t>(status.st_size);
  return end > size || static_cast<std::uint64_t>(status.st_blocks) * stat_block < size;
}

}  // namespace

void claim_in_file(const HostFile& file, std::uint64_t offset, std::uint64_t length) {
  if (!may_lack_space(file, offset + length)) return;
  while (::fallocate(file.descriptor(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(length)) != 0) {
    if (errno == EINTR) continue;
    if (errno != ENOSPC && errno != EDQUOT && errno != EFBIG) return;
    throw Error::system(errno, "taking space for " + std::to_string(length) + " bytes of " +
                                   file.path() + " at offset " + std::to_string(offset));
  }
}

}  // namespace peelfs
