#include "writing/client.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "support/support.h"

namespace peelfs::test {

Client::Client(const std::string& path, const std::string& log, std::uint64_t unit,
               std::uint64_t seed)
    : fd_(::open(path.c_str(), O_RDWR | O_CLOEXEC)), unit_(unit), dice_(seed), promiser_(log) {
  EXPECT_GE(fd_, 0) << path << ": errno " << errno;
  size_ = static_cast<std::uint64_t>(::lseek(fd_, 0, SEEK_END));
}

Client::~Client() {
  if (fd_ >= 0) ::close(fd_);
}

int Client::store(std::uint64_t offset, Bytes data) const {
  while (!data.empty()) {
    const ssize_t put = ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
    if (put < 0) return errno;
    offset += static_cast<std::uint64_t>(put);
    data = data.subspan(static_cast<std::size_t>(put));
  }
  return 0;
}

int Client::sync() {
  const std::uint64_t before = promiser_.before_sync();
  if (::fsync(fd_) != 0) return errno;
  promiser_.synced(before);
  ++syncs_;
  return 0;
}

int Client::step() {
  const std::uint64_t what = dice_.below(100);
  if (what >= 85) return sync();
  ++writes_;
  if (what < 60) {
    const Range at = dice_.range(size_, unit_, 4 * unit_ + 20'000);
    const Buffer data = pattern(at.length, dice_.number());
    promiser_.intend(at.offset, data);
    return store(at.offset, data);
  }
  const Range at = dice_.chance(50) ? dice_.range(size_, unit_, 8 * unit_)
                                    : dice_.aligned(size_, unit_, unit_, 16 * unit_);
  promiser_.intend_zero(at.offset, at.length);
  const int mode = FALLOC_FL_KEEP_SIZE | (what < 70 ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);
  if (::fallocate(fd_, mode, static_cast<off_t>(at.offset), static_cast<off_t>(at.length)) == 0) {
    return 0;
  }
  return errno == EOPNOTSUPP ? store(at.offset, Buffer(at.length)) : errno;
}

}  // namespace peelfs::test
