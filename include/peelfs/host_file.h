// An open file or block device of the host. layers/host/host_file.cc is the one place in the
// program that opens host files; everything below a tree of devices ends in objects of this class.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "peelfs/mutex.h"
#include "peelfs/storage.h"

namespace peelfs {

class FileMapping;

/// Thread-safe. A file that was opened read-only has a descriptor that cannot write, so no call
/// here can change it.
class HostFile final : public Storage {
 public:
  enum class Access : std::uint8_t { read_only, read_write };

  /// Opens a regular file or block device: O_RDONLY, with O_NOATIME where the host allows it, or
  /// O_RDWR, a block device O_EXCL then. Anything else is left alone: it is looked at before it is
  /// opened, so that no FIFO's writer and no driver notices.
  /// @throws Error: missing, denied, or usage when it is something else (a directory, a FIFO)
  static std::shared_ptr<const HostFile> open(const std::string& path,
                                              Access access = Access::read_only);
  /// The same for the file that an O_PATH descriptor stands for, also if its name leads to another
  /// file by now. The caller keeps the descriptor. @param path for messages
  static std::shared_ptr<const HostFile> open_pinned(int pin, const std::string& path,
                                                     Access access = Access::read_only);
  /// Makes a new, empty file, read-write, for its owner only.
  /// @throws Error with EEXIST when there is one
  static std::shared_ptr<const HostFile> create(const std::string& path);
  /// The same for a descriptor, which is taken over (a file opened beneath a directory, a memfd).
  static std::shared_ptr<const HostFile> adopt(int fd, const std::string& path);
  ~HostFile() override;

  std::uint64_t size() const noexcept override { return size_; }
  std::uint64_t end() const noexcept override { return end_.load(std::memory_order_acquire); }
  bool can_grow() const noexcept override { return !block_device_; }
  bool writable() const noexcept override { return writable_; }
  bool is_block_device() const noexcept { return block_device_; }
  /// BLKSSZGET of a block device, 512 of a file.
  std::uint32_t sector_size() const noexcept override { return sector_size_; }
  /// For messages; printable.
  const std::string& path() const noexcept { return path_; }
  const std::string& name() const noexcept override { return path_; }
  FileId id() const noexcept { return {block_device_, device_, inode_}; }
  StorageId identity() const override { return {id(), {}}; }
  const HostFile* host_file() const noexcept override { return this; }
  bool updates_atime() const noexcept { return updates_atime_; }
  /// When its bytes were last changed, as of opening it.
  timespec modified() const noexcept { return mtime_; }

  /// One preadv for as many buffers as it takes.
  void read(std::uint64_t offset, std::span<const iovec> buffers) const override;

  /// Bytes that the page cache holds, mapped. Our own code must never touch them: where the file
  /// became shorter or its storage fails, an access would kill the process. The kernel gets EFAULT
  /// instead. Where the file ends within a page by now, the kernel takes zeroes for the rest of
  /// that: ask reaches() afterwards.
  const std::byte* lend(std::uint64_t offset, std::size_t length) const noexcept override;
  bool reaches(std::uint64_t end) const noexcept override;

  void write(std::uint64_t offset, std::span<const iovec> buffers) const override;
  void zero(std::uint64_t offset, std::uint64_t length, bool punch) const override;
  void claim(std::uint64_t offset, std::uint64_t length) const override;

  /// fdatasync, if anything was written since the last one. The kernel drops pages that it could
  /// not write, and says so only once: after a failure this one keeps failing.
  void flush() const override;

  /// The descriptor, for locks on the open file description. Not for reading or writing.
  int descriptor() const noexcept { return fd_; }

  Run status(std::uint64_t offset, std::uint64_t length) const override;
  std::uint64_t allocated_bytes() const override;
  /// By size and time of last change.
  bool changed() const override;

 private:
  HostFile(int fd, const std::string& path);
  void check_writable() const;
  bool may_lack_space(std::uint64_t end) const;

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
  mutable Mutex flushing_;  ///< one flush at a time
  const std::unique_ptr<FileMapping> mapping_;
  mutable std::atomic<bool> lends_{true};
};

}  // namespace peelfs
