// Where extents end: something outside of all layers that holds bytes. A host file is one
// (host_file.h). Nothing above this interface knows which it is.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "peelfs/block_device.h"
#include "peelfs/io.h"

namespace peelfs {

class HostFile;

/// Identifies a file of the host without its name: two names are one file if these are the same.
struct FileId {
  bool block_device = false;
  dev_t device = 0;  ///< st_dev; st_rdev of a block device
  ino_t inode = 0;   ///< 0 of a block device
  auto operator<=>(const FileId&) const = default;
};

/// What a storage is. Two storages with the same identity hold the same bytes at the same offsets,
/// and a write to one is a write to the other.
struct StorageId {
  FileId file = {};      ///< of a host file
  std::string url = {};  ///< of anything else; empty for a host file
  auto operator<=>(const StorageId&) const = default;
};

/// Thread-safe. Bytes are read and written by the loops in io.h only.
class Storage {
 public:
  Storage() = default;
  virtual ~Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  /// For messages; printable.
  virtual const std::string& name() const noexcept = 0;
  virtual StorageId identity() const = 0;

  /// Bytes, when it was opened.
  virtual std::uint64_t size() const noexcept = 0;
  /// Bytes now, as far as our own writes have extended it.
  virtual std::uint64_t end() const noexcept { return size(); }
  /// Whether a write behind the end extends it.
  virtual bool can_grow() const noexcept { return false; }
  virtual bool writable() const noexcept { return false; }
  /// Logical sector in bytes.
  virtual std::uint32_t sector_size() const noexcept { return 512; }
  /// How many bytes one read should ask for, where that many are wanted: a request that waits for a
  /// network asks for much. Readers that work in pieces gather them up to this size.
  virtual std::uint32_t best_read() const noexcept { return 128U << 10U; }

  /// Fills every buffer from `offset` on, in as few requests as can be.
  /// @throws Error(Fault::io): EIO when the storage ends before, or what the storage says
  virtual void read(std::uint64_t offset, std::span<const iovec> buffers) const = 0;

  /// Writes every buffer from `offset` on. The default refuses.
  /// @throws Error: denied with EROFS when it cannot be written, io with an errno (ENOSPC)
  virtual void write(std::uint64_t offset, std::span<const iovec> buffers) const;

  /// Makes a range read as zero. The default refuses.
  /// @param punch give its space back
  /// @throws Error with EOPNOTSUPP where it cannot
  virtual void zero(std::uint64_t offset, std::uint64_t length, bool punch) const;

  /// Gives a range space of its own, without changing what it reads as, nor the size. Nothing
  /// happens where that cannot be done, or where there are no holes.
  /// @throws Error with ENOSPC when there is no space
  virtual void claim(std::uint64_t /*offset*/, std::uint64_t /*length*/) const {}

  /// Returns when all that was written is durable. Once it has failed, it and write() fail for
  /// good.
  virtual void flush() const {}

  /// Hole or data at `offset`, of 1 to `length` bytes; data where the storage cannot tell.
  virtual Run status(std::uint64_t /*offset*/, std::uint64_t length) const {
    return {true, length};
  }

  /// Bytes that are stored for it, now.
  virtual std::uint64_t allocated_bytes() const { return size(); }

  /// Whether it differs from what it was when it was opened: cached pages can no longer be trusted.
  virtual bool changed() const { return false; }

  /// Memory that shows a range, as long as the calling request (Epochs::Request) lasts: to be
  /// handed to the kernel, and never to be touched by our own code.
  /// @return null where it has to be read
  virtual const std::byte* lend(std::uint64_t /*offset*/, std::size_t /*length*/) const noexcept {
    return nullptr;
  }
  /// Whether it is at least this long now. Once it was not, nothing is lent any more.
  virtual bool reaches(std::uint64_t /*end*/) const noexcept { return true; }

  /// The host file that it is: for locks, and for what the host can do with a descriptor. Null for
  /// anything else.
  virtual const HostFile* host_file() const noexcept { return nullptr; }
};

/// The whole of a storage as a device; the bottom of every stack.
DevicePtr make_storage_device(std::shared_ptr<const Storage> storage);

/// How many bytes a read of `device` at `offset` should ask for at once, see Storage::best_read().
/// 0: nothing is known. Reads no bytes, but may load tables. Thread-safe.
std::uint32_t best_read(const BlockDevice& device, std::uint64_t offset);

}  // namespace peelfs
