#include "peelfs/host_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "peelfs/error.h"

namespace peelfs {

namespace {

class FileDevice : public BlockDevice {
 public:
  explicit FileDevice(std::shared_ptr<const HostFile> file)
      : BlockDevice(file->size(), file->sector_size()), file_(std::move(file)) {}
  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    return Extent::in_file(*file_, offset, length);
  }
  std::uint64_t allocated_bytes() const override { return file_->allocated_bytes(); }
  std::string describe() const override { return file_->path(); }

 private:
  const std::shared_ptr<const HostFile> file_;
};

std::string what_it_is(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "neither a file nor a block device";
}

}  // namespace

std::shared_ptr<const HostFile> HostFile::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO by mistake must not hang. It means nothing for what we accept.
  constexpr int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  // O_NOATIME is the owner's and root's privilege.
  int fd = ::open(path.c_str(), flags | O_NOATIME);
  if (fd < 0 && errno == EPERM) fd = ::open(path.c_str(), flags);
  if (fd < 0) {
    const int error_number = errno;
    Error error = Error::system(error_number, "cannot open " + path);
    if (error_number == EACCES || error_number == EPERM) {
      throw std::move(error).advice("peelfs needs only read permission: 'ls -l " + path +
                                    "' shows who has it");
    }
    throw error;
  }
  return adopt(fd, path);
}

std::shared_ptr<const HostFile> HostFile::adopt(int fd, const std::string& path) {
  return std::shared_ptr<const HostFile>(new HostFile(fd, path));
}

HostFile::HostFile(int fd, const std::string& path) : fd_(fd), path_(printable(path)) {
  const auto fail = [this](Error error) {
    ::close(fd_);
    throw error;
  };
  struct stat status {};
  if (fstat(fd_, &status) != 0) fail(Error::system(errno, "cannot examine " + path_));
  const int flags = fcntl(fd_, F_GETFL);
  updates_atime_ = flags >= 0 && (flags & O_NOATIME) == 0;
  mtime_ = status.st_mtim;
  if (S_ISREG(status.st_mode)) {
    size_ = static_cast<std::uint64_t>(status.st_size);
    device_ = status.st_dev;
    inode_ = status.st_ino;
  } else if (S_ISBLK(status.st_mode)) {
    block_device_ = true;
    device_ = status.st_rdev;
    std::uint64_t bytes = 0;
    int sector = 0;
    if (ioctl(fd_, BLKGETSIZE64, &bytes) != 0) fail(Error::system(errno, "size of " + path_));
    if (ioctl(fd_, BLKSSZGET, &sector) == 0 && sector >= 512 && sector <= 65536) {
      sector_size_ = static_cast<std::uint32_t>(sector);
    }
    size_ = bytes;
  } else {
    fail(Error(Fault::usage, path_ + " is " + what_it_is(status.st_mode))
             .expected("a disk image or a block device"));
  }
}

HostFile::~HostFile() {
  ::close(fd_);
}

void HostFile::read(std::uint64_t offset, std::span<const iovec> buffers) const {
  std::array<iovec, 64> rest{};
  while (!buffers.empty()) {
    std::size_t count = std::min(buffers.size(), rest.size());
    std::copy_n(buffers.begin(), count, rest.begin());
    buffers = buffers.subspan(count);
    std::size_t first = 0;
    while (first < count) {
      const ssize_t got =
          preadv(fd_, &rest.at(first), static_cast<int>(count - first), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        throw Error::system(errno, "reading " + path_ + " at offset " + std::to_string(offset));
      }
      if (got == 0) {
        throw Error(Fault::io, path_ + " has become shorter")
            .found("its end at or before offset " + std::to_string(offset))
            .expected(std::to_string(size_) + " bytes, as when it was opened");
      }
      offset += static_cast<std::uint64_t>(got);
      auto done = static_cast<std::size_t>(got);
      while (first < count && done >= rest.at(first).iov_len) done -= rest.at(first++).iov_len;
      if (done > 0) {
        rest.at(first).iov_base = static_cast<std::byte*>(rest.at(first).iov_base) + done;
        rest.at(first).iov_len -= done;
      }
    }
  }
}

Run HostFile::status(std::uint64_t offset, std::uint64_t length) const {
  if (block_device_) return {true, length};
  // The file position is nobody's here: everything else uses preadv.
  const off_t data = lseek(fd_, static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0) {
    // ENXIO: no data behind here. Beyond the end of a file that shrank it is data, so that a read
    // says so.
    struct stat status {};
    const bool hole = errno == ENXIO && fstat(fd_, &status) == 0 &&
                      offset + length <= static_cast<std::uint64_t>(status.st_size);
    return {!hole, length};
  }
  if (static_cast<std::uint64_t>(data) > offset) {
    return {false, std::min(length, static_cast<std::uint64_t>(data) - offset)};
  }
  const off_t hole = lseek(fd_, static_cast<off_t>(offset), SEEK_HOLE);
  if (hole < 0 || static_cast<std::uint64_t>(hole) <= offset) return {true, length};
  return {true, std::min(length, static_cast<std::uint64_t>(hole) - offset)};
}

std::uint64_t HostFile::allocated_bytes() const {
  struct stat status {};
  if (block_device_ || fstat(fd_, &status) != 0) return size_;
  return std::min(size_, static_cast<std::uint64_t>(status.st_blocks) * 512);
}

bool HostFile::changed() const {
  struct stat status {};
  if (fstat(fd_, &status) != 0) return true;
  if (block_device_) return false;
  return static_cast<std::uint64_t>(status.st_size) != size_ ||
         status.st_mtim.tv_sec != mtime_.tv_sec || status.st_mtim.tv_nsec != mtime_.tv_nsec;
}

DevicePtr make_file_device(std::shared_ptr<const HostFile> file) {
  return std::make_shared<FileDevice>(std::move(file));
}

}  // namespace peelfs
