// What every file of one ext filesystem shares: the device and the geometry.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "ext/ext_disk.h"
#include "peelfs/block_device.h"
#include "peelfs/mutex.h"

namespace peelfs::ext {

/// An ext2/3/4 filesystem on a device. Immutable, so thread-safe.
class Volume {
 public:
  Volume(DevicePtr device, SuperBlock super);

  const BlockDevice& device() const { return *device_; }
  const SuperBlock& super() const { return super_; }
  std::uint32_t block_size() const { return super_.block_size; }

  /// Checks that `count` blocks from `block` on can hold what `what` says.
  /// @throws Error(Fault::damaged) when they leave the filesystem or are the super block's
  void check_blocks(std::uint64_t block, std::uint64_t count, std::string_view what) const;

  /// The bytes of one block of metadata, whose number has been checked.
  Buffer read_block(std::uint64_t block) const;

  /// Another number for every volume there ever was in this process.
  std::uint64_t id() const { return id_; }

 private:
  const DevicePtr device_;
  const SuperBlock super_;
  const std::uint64_t id_;
};

}  // namespace peelfs::ext
