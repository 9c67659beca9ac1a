// Where the blocks of a file are: the extent tree of ext4, and the direct and indirect blocks of
// ext2 and ext3. Both follow Documentation/filesystems/ext4/dynamic.rst of the kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "ext/inode.h"
#include "ext/volume.h"

namespace peelfs::ext {

/// A run of blocks of a file.
struct BlockRun {
  std::uint64_t blocks = 0;               ///< at least 1
  std::optional<std::uint64_t> physical;  ///< block of the filesystem; none: reads as zero
  /// Where blocks are allocated that hold no data yet.
  std::optional<std::uint64_t> unwritten;
};

/// Thread-safe; nodes are loaded on demand into the volume's bounded cache.
class BlockMap {
 public:
  virtual ~BlockMap() = default;
  /// @param logical block of the file
  /// @return what lies there; blocks that read as zero are holes or unwritten (allocated only)
  /// @throws Error(Fault::damaged) when a node on the way contradicts itself or its neighbours, or
  ///   the blocks leave the filesystem; other ranges of the file are not affected
  virtual BlockRun at(std::uint64_t logical) const = 0;
};

/// For an inode with flag_extents.
std::unique_ptr<BlockMap> make_extent_map(std::shared_ptr<const Volume> volume, const Inode& inode);

/// For an inode without it.
std::unique_ptr<BlockMap> make_indirect_map(std::shared_ptr<const Volume> volume,
                                            const Inode& inode);

}  // namespace peelfs::ext
