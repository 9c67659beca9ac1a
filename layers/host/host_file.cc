#include "peelfs/host_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "host/file_mapping.h"
#include "host/host_call.h"
#include "host/in_use.h"
#include "host/open_files.h"
#include "peelfs/error.h"
#include "peelfs/mutex.h"
#include "peelfs/shell.h"

namespace peelfs {

namespace {

std::string what_it_is(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISLNK(mode)) return "a symbolic link";
  return "neither a file nor a block device";
}

Error no_image(const std::string& path, mode_t mode) {
  return Error(Fault::usage, path + " is " + what_it_is(mode))
      .expected("a disk image or a block device");
}

/// Hands buffers to `transfer`, as many as one system call takes, until it has been through all of
/// them. @param transfer (buffers) -> bytes that it has done, from the first on
template <typename Transfer>
void in_batches(std::span<const iovec> buffers, const Transfer& transfer) {
  std::array<iovec, 64> batch{};
  while (!buffers.empty()) {
    std::span<iovec> rest(batch.data(), std::min(buffers.size(), batch.size()));
    std::copy_n(buffers.begin(), rest.size(), rest.begin());
    buffers = buffers.subspan(rest.size());
    while (!rest.empty()) {
      std::size_t done = transfer(std::span<const iovec>(rest));
      while (!rest.empty() && done >= rest.front().iov_len) {
        done -= rest.front().iov_len;
        rest = rest.subspan(1);
      }
      if (done == 0) continue;
      rest.front().iov_base = static_cast<std::byte*>(rest.front().iov_base) + done;
      rest.front().iov_len -= done;
    }
  }
}

/// Marks a file when a write to it ends, well or badly. If the write were marked when it begins, a
/// flush that runs meanwhile could take the mark without the bytes, and the flush after the write
/// would do nothing.
class Dirtied {
 public:
  explicit Dirtied(std::atomic<bool>& mark) : mark_(mark) {}
  ~Dirtied() { mark_ = true; }
  Dirtied(const Dirtied&) = delete;
  Dirtied& operator=(const Dirtied&) = delete;

 private:
  std::atomic<bool>& mark_;
};

/// O_NONBLOCK: the open of a block device must not wait for its medium.
constexpr int kCommonFlags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

/// A descriptor that opens nothing: what it stands for can be looked at before it is opened.
class Pin {
 public:
  explicit Pin(const std::string& path) : fd_(::open(path.c_str(), O_PATH | O_CLOEXEC)) {
    if (fd_ < 0) throw Error::system(errno, "cannot open " + path);
  }
  ~Pin() { ::close(fd_); }
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;
  int descriptor() const noexcept { return fd_; }

 private:
  int fd_;
};

Error cannot_open(int error_number, const std::string& path, bool writing, bool block) {
  Error error =
      Error::system(error_number, "cannot open " + path + (writing ? " for writing" : ""));
  if (writing && error_number == EBUSY) {
    return std::move(error).advice(
        "it is mounted, or a device of the host lies on it; this shows which: " +
        shell_line({"lsblk", path}));
  }
  if (error_number == ENOENT && !block) return std::move(error).advice("see that /proc is mounted");
  if (writing && (error_number == EACCES || error_number == EPERM || error_number == EROFS)) {
    return std::move(error).advice(
        "leave out 'rw' to look without writing, or try changes in an overlay (--overlay DIR)");
  }
  if (error_number == EACCES || error_number == EPERM) {
    return std::move(error).advice("peelfs needs only read permission; who has it is shown by: " +
                                   shell_line({"ls", "-l", path}));
  }
  return error;
}

}  // namespace

std::shared_ptr<const HostFile> HostFile::create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0600);
  if (fd < 0) throw Error::system(errno, "cannot create " + path);
  return adopt(fd, path);
}

std::shared_ptr<const HostFile> HostFile::open(const std::string& path, Access access) {
  const HostCall call(path);
  return open_pinned(Pin(path).descriptor(), path, access);
}

std::shared_ptr<const HostFile> HostFile::open_pinned(int pin, const std::string& path,
                                                      Access access) {
  struct stat status {};
  if (fstat(pin, &status) != 0) throw Error::system(errno, "cannot examine " + path);
  const bool block = S_ISBLK(status.st_mode);
  if (!block && !S_ISREG(status.st_mode)) {
    throw no_image(path, status.st_mode);
  }
  const bool writing = access == Access::read_write;
  // The question is about the file that is opened, even if its name leads to another one by now.
  if (writing) {
    if (const auto identity = identity_of(pin)) refuse_in_use(*identity, path);
  }
  // O_EXCL without O_CREAT means "no one else has claimed it" for a block device, and is undefined
  // for a file. O_NOATIME is the owner's and root's privilege.
  const int flags = writing ? O_RDWR | (block ? O_EXCL : 0) : O_RDONLY | O_NOATIME;
  const std::string link = "/proc/self/fd/" + std::to_string(pin);
  int fd = ::open(link.c_str(), flags | kCommonFlags);
  if (fd < 0 && errno == EPERM && !writing) fd = ::open(link.c_str(), O_RDONLY | kCommonFlags);
  if (fd < 0) throw cannot_open(errno, path, writing, block);
  auto file = adopt(fd, path);
  // The kernel opens a device that can only be read for writing, and refuses the first write.
  int read_only = 0;
  if (writing && block && ::ioctl(fd, BLKROGET, &read_only) == 0 && read_only != 0) {
    throw cannot_open(EROFS, path, writing, block);
  }
  const FileId expected =
      block ? FileId{true, status.st_rdev, 0} : FileId{false, status.st_dev, status.st_ino};
  if (file->id() != expected) {
    throw Error(Fault::denied, path + " was replaced while it was opened").with_errno(EAGAIN);
  }
  return file;
}

std::shared_ptr<const HostFile> open_again(const HostFile& file) {
  const std::string descriptor = "/proc/self/fd/" + std::to_string(file.descriptor());
  const int fd = ::open(descriptor.c_str(), O_RDONLY | kCommonFlags);
  if (fd < 0) throw Error::system(errno, "cannot open " + file.path() + " once more");
  return HostFile::adopt(fd, file.path());
}

std::shared_ptr<const HostFile> HostFile::adopt(int fd, const std::string& path) {
  return std::shared_ptr<const HostFile>(new HostFile(fd, path));
}

HostFile::HostFile(int fd, const std::string& path)
    : fd_(fd), path_(printable(path)), mapping_(std::make_unique<FileMapping>(fd)) {
  const auto fail = [this](Error error) {
    ::close(fd_);
    throw error;
  };
  struct stat status {};
  if (fstat(fd_, &status) != 0) fail(Error::system(errno, "cannot examine " + path_));
  const int flags = fcntl(fd_, F_GETFL);
  updates_atime_ = flags >= 0 && (flags & O_NOATIME) == 0;
  writable_ = flags >= 0 && (flags & O_ACCMODE) == O_RDWR;
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
    fail(no_image(path_, status.st_mode));
  }
  end_ = size_;
  note_opened(*this);
}

HostFile::~HostFile() {
  note_closing(*this);
  ::close(fd_);
}

void HostFile::read(std::uint64_t offset, std::span<const iovec> buffers) const {
  in_batches(buffers, [&](std::span<const iovec> rest) {
    const HostCall call(path_);
    const ssize_t got =
        preadv(fd_, rest.data(), static_cast<int>(rest.size()), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) return std::size_t{0};
    if (got < 0) {
      throw Error::system(errno, "reading " + path_ + " at offset " + std::to_string(offset));
    }
    if (got == 0) {
      throw Error(Fault::io, path_ + " has become shorter")
          .found("its end at or before offset " + std::to_string(offset))
          .expected(std::to_string(end()) + " bytes, as when it was opened");
    }
    offset += static_cast<std::uint64_t>(got);
    return static_cast<std::size_t>(got);
  });
}

const std::byte* HostFile::lend(std::uint64_t offset, std::size_t length) const noexcept {
  if (!lends_.load(std::memory_order_relaxed)) return nullptr;
  // Looks whether the last byte is there and cached: behind the end of a file that became shorter a
  // mapping shows zeroes up to the end of the page, and bytes that are not in the cache are better
  // read, because a page fault reads less ahead.
  char byte = 0;
  const iovec last{&byte, 1};
  const ssize_t got = preadv2(fd_, &last, 1, static_cast<off_t>(offset + length - 1), RWF_NOWAIT);
  if (got == 1) return mapping_->at(offset, length);
  // Some filesystems cannot tell what is in the cache.
  if (got < 0 && errno == EOPNOTSUPP) lends_ = false;
  return nullptr;
}

bool HostFile::reaches(std::uint64_t end) const noexcept {
  if (block_device_) return true;
  struct stat status {};
  if (fstat(fd_, &status) == 0 && static_cast<std::uint64_t>(status.st_size) >= end) return true;
  lends_ = false;
  return false;
}

void HostFile::check_writable() const {
  if (!writable_) {
    throw Error(Fault::denied, path_ + " was opened read-only").with_errno(EROFS);
  }
  if (poisoned_) {
    throw Error(Fault::io, "an earlier write to " + path_ + " was lost when the host flushed it")
        .advice(
            "nothing more is written: unmount, look into the host's kernel log, and check the "
            "storage")
        .with_errno(EIO);
  }
}

void HostFile::write(std::uint64_t offset, std::span<const iovec> buffers) const {
  check_writable();
  const Dirtied dirtied(dirty_);
  in_batches(buffers, [&](std::span<const iovec> rest) {
    const ssize_t put =
        pwritev(fd_, rest.data(), static_cast<int>(rest.size()), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) return std::size_t{0};
    if (put <= 0) {
      throw Error::system(put == 0 ? ENOSPC : errno,
                          "writing " + path_ + " at offset " + std::to_string(offset));
    }
    offset += static_cast<std::uint64_t>(put);
    std::uint64_t known = end_.load(std::memory_order_relaxed);
    while (known < offset && !end_.compare_exchange_weak(known, offset)) {
    }
    return static_cast<std::size_t>(put);
  });
}

void HostFile::zero(std::uint64_t offset, std::uint64_t length, bool punch) const {
  check_writable();
  const Dirtied dirtied(dirty_);
  const int mode = FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
  while (::fallocate(fd_, mode, static_cast<off_t>(offset), static_cast<off_t>(length)) != 0) {
    if (errno == EINTR) continue;
    // A block device refuses what does not begin and end on its sectors with EINVAL.
    const bool cannot = errno == ENOSYS || (errno == EINVAL && block_device_);
    const int error_number = cannot ? EOPNOTSUPP : errno;
    throw Error::system(error_number, "zeroing " + std::to_string(length) + " bytes of " + path_ +
                                          " at offset " + std::to_string(offset))
        .with_errno(error_number);
  }
}

void HostFile::flush() const {
  if (!writable_) return;
  // One flush at a time: a second caller must not return before the first one has made the bytes
  // durable.
  const MutexLock lock(flushing_);
  check_writable();
  if (!dirty_.exchange(false)) return;
  while (::fdatasync(fd_) != 0) {
    if (errno == EINTR) continue;
    poisoned_ = true;
    throw Error::system(errno, "flushing " + path_)
        .advice("writes may be lost, and nothing more is written: look into the host's kernel log");
  }
}

Run HostFile::status(std::uint64_t offset, std::uint64_t length) const {
  if (block_device_) return {true, length};
  const HostCall call(path_);
  // No other code uses the file position: all of it uses preadv.
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
  const HostCall call(path_);
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

}  // namespace peelfs
