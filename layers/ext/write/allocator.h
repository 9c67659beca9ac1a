// Free space of an ext filesystem: libext2fs finds it. Changes are written piece by piece, in an
// order that the caller decides.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cstdint>
#include <memory>
#include <set>

#include "ext/volume.h"

namespace peelfs::ext {

class DeviceChannel;

/// Not thread-safe. Nothing reaches the disk but by the write_ functions, and those do not flush.
class Allocator {
 public:
  struct Run {
    std::uint64_t first = 0, count = 0;
  };

  /// Reads all block bitmaps. @throws Error when they are damaged or too many
  explicit Allocator(std::shared_ptr<const Volume> volume);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  /// Free blocks, without those that are kept for root.
  std::uint64_t available() const { return free_ > reserved_ ? free_ - reserved_ : 0; }
  /// Takes the first run of free blocks from `goal` on, of at most `most` blocks. From then on the
  /// device below has space for the bitmaps and descriptors of their groups.
  /// @throws Error with ENOSPC when there is none, here or below
  Run take(std::uint64_t goal, std::uint64_t most);
  void give_back(Run run);

  /// Where an inode stands, in bytes of the device.
  std::uint64_t inode_offset(std::uint32_t number) const;
  ext2_filsys handle() const { return handle_; }

  /// Bitmaps and descriptors of the groups that have changed since the last time.
  void write_groups();
  /// The super block's state and count of free blocks.
  void write_super(bool valid);

 private:
  void mark(Run run, bool used);
  void give_space(Run run);
  std::uint64_t bitmap_place(std::uint32_t group) const;
  std::uint64_t descriptor_place(std::uint32_t group) const;

  const std::shared_ptr<const Volume> volume_;
  std::unique_ptr<DeviceChannel> channel_;
  ext2_filsys handle_ = nullptr;
  std::uint64_t free_ = 0, reserved_ = 0;
  std::set<std::uint32_t> changed_;
  std::set<std::uint32_t> has_space_;
};

}  // namespace peelfs::ext
