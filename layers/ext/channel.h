// A block device as an I/O manager of libext2fs.
#pragma once

#include <ext2fs/ext2fs.h>

#include <exception>
#include <list>
#include <unordered_map>
#include <utility>

#include "peelfs/block_device.h"

namespace peelfs::ext {

/// Read-only, with a small cache of its own: the library asks for the same few blocks again and
/// again. Not thread-safe, as the library's handle above it is not.
class DeviceChannel {
 public:
  explicit DeviceChannel(const BlockDevice& device) : device_(device) {}

  /// Opens the filesystem on the device. What lies beyond its end reads as zero meanwhile, so that
  /// a truncated filesystem opens: descriptors of zeroes name no inode table.
  errcode_t open(int flags, ext2_filsys* handle);

  /// What a read threw since the last call; null: nothing.
  std::exception_ptr take_failure() { return std::exchange(failure_, nullptr); }

 private:
  static errcode_t open_callback(const char* name, int flags, io_channel* channel);
  static errcode_t read_callback(io_channel channel, unsigned long long block, int count,
                                 void* data);
  static struct_io_manager& manager();

  errcode_t read(std::uint64_t offset, MutableBytes out);
  void read_cached(std::uint64_t offset, MutableBytes out);
  const Buffer& chunk(std::uint64_t number);

  struct Chunk {
    std::uint64_t number;
    Buffer bytes;
  };
  const BlockDevice& device_;
  bool zeroes_beyond_end_ = false;
  std::exception_ptr failure_;
  std::list<Chunk> chunks_;  ///< most recently used first
  std::unordered_map<std::uint64_t, std::list<Chunk>::iterator> index_;
};

}  // namespace peelfs::ext
