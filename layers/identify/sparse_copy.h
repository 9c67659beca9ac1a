// A sparse, sealed copy in memory of those parts of a device that libblkid looks at.
#pragma once

#include <cstdint>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/bytes.h"

namespace peelfs {

/// A memfd as large as the device, in which only what was asked for is filled in; the rest reads as
/// zero and costs nothing. What cannot be read counts as zeroes. Not thread-safe; the caller owns
/// one each.
class SparseCopy {
 public:
  /// What one copy may hold, in bytes.
  static constexpr std::uint64_t kMostBytes = 8ULL << 20U;

  explicit SparseCopy(const BlockDevice& device);
  ~SparseCopy();
  SparseCopy(const SparseCopy&) = delete;
  SparseCopy& operator=(const SparseCopy&) = delete;

  /// False when the host gave no memfd, or when nothing of the device can be read.
  bool usable() const noexcept { return fd_ >= 0 && !dead_; }
  const BlockDevice& device() const noexcept { return device_; }

  /// @throws Error(Fault::denied) when this host gave no memory or descriptor for the copy: nothing
  ///   can be said of the device then
  void check_host() const;

  /// Bytes of the device that were read.
  std::uint64_t bytes_read() const noexcept { return bytes_read_; }

  /// Copies a range, widened to whole pages; what lies beyond the end of the device or beyond
  /// kMostBytes in all is left out.
  void fill(std::uint64_t offset, std::uint64_t length);

  /// Exactly `length` bytes of the device at `offset`, zeroes where it ends or cannot be read: for
  /// following a structure to the next region. @param length at most 64 KiB
  Buffer look(std::uint64_t offset, std::size_t length);

  /// Zeroes a range once all is filled in: hides from libblkid what it would trust too far.
  void hide(std::uint64_t offset, std::uint64_t length);

  /// Applies hide() and seals the memory against any change. @return the descriptor, still owned
  /// here; -1 when the host failed
  int seal();

 private:
  struct Range {
    std::uint64_t begin, end;
  };
  /// @return bytes from there on that are known to be zeroes, 0 if there is data
  std::uint64_t hole_at(std::uint64_t offset, std::uint64_t length) const;
  void copy_chunk(std::uint64_t offset, std::size_t length);
  bool read_chunk(std::uint64_t offset, MutableBytes out);
  void store(std::uint64_t offset, Bytes bytes);

  const BlockDevice& device_;
  int fd_ = -1;
  std::uint64_t size_ = 0;  ///< of the memfd: the device's, or less where the host has a limit
  std::uint64_t budget_ = kMostBytes;
  unsigned failures_ = 0;
  bool anything_read_ = false;
  bool dead_ = false;
  int host_error_ = 0;  ///< errno of what the host refused
  std::uint64_t bytes_read_ = 0;
  std::vector<Range> filled_, hidden_;
  Buffer chunk_;
};

}  // namespace peelfs
