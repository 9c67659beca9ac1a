// An open file or block device of the host. layers/host/host_file.cc is the one place in the
// program that opens host files; everything below a tree of devices ends in objects of this class.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "peelfs/io.h"

namespace peelfs {

class FileMapping;

/// What a file of the host is, whatever it is called: two names are one file if these are the same.
struct FileId {
  bool block_device = false;
  dev_t device = 0;  ///< st_dev; st_rdev of a block device
  ino_t inode = 0;   ///< 0 of a block device
  auto operator<=>(const FileId&) const = default;
};

/// Thread-safe. What was opened read-only has a descriptor that cannot write, whatever is called.
class HostFile {
 public:
  enum class Access : std::uint8_t { read_only, read_write };

  /// Opens a regular file or block device: O_RDONLY, with O_NOATIME where the host allows it, or
  /// O_RDWR, a block device O_EXCL then. Anything else is left alone: it is looked at before it is
  /// opened, so that no FIFO's writer and no driver notices.
  /// @throws Error: missing, denied, or usage when it is something else (a directory, a FIFO)
  static std::shared_ptr<const HostFile> open(const std::string& path,
                                              Access access = Access::read_only);
  /// The same for what an O_PATH descriptor stands for (which stays the caller's), whatever its
  /// name leads to by now. @param path for messages
  static std::shared_ptr<const HostFile> open_pinned(int pin, const std::string& path,
                                                     Access access = Access::read_only);
  /// Makes a new, empty file, read-write, for its owner only.
  /// @throws Error with EEXIST when there is one
  static std::shared_ptr<const HostFile> create(const std::string& path);
  /// The same for a descriptor, which is taken over (a file opened beneath a directory, a memfd).
  static std::shared_ptr<const HostFile> adopt(int fd, const std::string& path);
  ~HostFile();
  HostFile(const HostFile&) = delete;
  HostFile& operator=(const HostFile&) = delete;

  /// Bytes, when it was opened.
  std::uint64_t size() const noexcept { return size_; }
  /// Bytes now, as far as our own writes have extended it.
  std::uint64_t end() const noexcept { return end_.load(std::memory_order_acquire); }
  bool writable() const noexcept { return writable_; }
  bool is_block_device() const noexcept { return block_device_; }
  /// Logical sector in bytes: BLKSSZGET of a block device, 512 of a file.
  std::uint32_t sector_size() const noexcept { return sector_size_; }
  /// For messages; printable.
  const std::string& path() const noexcept { return path_; }
  FileId id() const noexcept { return {block_device_, device_, inode_}; }
  dev_t device_number() const noexcept { return device_; }  ///< st_rdev of a block device
  ino_t inode() const noexcept { return inode_; }           ///< 0 of a block device
  bool updates_atime() const noexcept { return updates_atime_; }
  /// When its bytes were last changed, as of opening it.
  timespec modified() const noexcept { return mtime_; }

  /// Fills every buffer from `offset` on, in as few system calls as can be.
  /// @throws Error(Fault::io): EIO when the file ends before (it shrank), or the host's errno
  void read(std::uint64_t offset, std::span<const iovec> buffers) const;

  /// Memory that shows a range of the file, as long as the calling request (Epochs::Request) lasts:
  /// to be handed to the kernel, and never to be touched by our own code, which would be killed
  /// where the file became shorter or its storage fails. The kernel says EFAULT; where the file
  /// ends within a page by now, it takes zeroes for the rest of that: ask reaches() afterwards.
  /// @return null where it has to be read: it is not in the page cache, the file has become
  /// shorter, or the host cannot map it
  const std::byte* lend(std::uint64_t offset, std::size_t length) const noexcept;

  /// Whether the file is at least this long now. Once it was not, nothing is lent any more.
  bool reaches(std::uint64_t end) const noexcept;

  /// Writes every buffer from `offset` on; a regular file grows.
  /// @throws Error: denied with EROFS when it was opened read-only, io with the host's errno
  /// (ENOSPC)
  void write(std::uint64_t offset, std::span<const iovec> buffers) const;

  /// Makes a range read as zero. @param punch give its space back
  /// @throws Error with EOPNOTSUPP where the host cannot
  void zero(std::uint64_t offset, std::uint64_t length, bool punch) const;

  /// fdatasync, if anything was written since the last one. Once it has failed, it and write() fail
  /// for good: the kernel has dropped pages that it could not write, and says so only once.
  void flush() const;

  /// The descriptor, for locks on the open file description. Not for reading or writing.
  int descriptor() const noexcept { return fd_; }

  /// Hole or data at `offset`, of 1 to `length` bytes; data where the host cannot tell.
  Run status(std::uint64_t offset, std::uint64_t length) const;

  /// Bytes that the host stores for it, now.
  std::uint64_t allocated_bytes() const;

  /// Whether size or mtime differ from when it was opened: cached pages can no longer be trusted.
  bool changed() const;

 private:
  HostFile(int fd, const std::string& path);
  void check_writable() const;

  int fd_;
  std::string path_;
  std::uint64_t size_ = 0;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  timespec mtime_{};
  std::uint32_t sector_size_ = 512;
  bool block_device_ = false;
  bool updates_atime_ = false;
  bool writable_ = false;
  mutable std::atomic<std::uint64_t> end_{0};
  mutable std::atomic<bool> dirty_{false};
  mutable std::atomic<bool> poisoned_{false};
  mutable std::mutex flushing_;
  const std::unique_ptr<FileMapping> mapping_;
  mutable std::atomic<bool> lends_{true};
};

/// The whole of a host file as a device; the bottom of every stack.
DevicePtr make_file_device(std::shared_ptr<const HostFile> file);

}  // namespace peelfs
