#include <algorithm>

#include "ext/filesystem.h"
#include "ext/library.h"
#include "peelfs/error.h"

namespace peelfs::ext {

namespace {

/// Goes through the block bitmaps of the groups, in order.
class FreeSpace {
 public:
  FreeSpace(const std::shared_ptr<const Volume>& volume,
            const std::function<bool(const ByteRange&)>& visit)
      : volume_(*volume),
        library_(volume),
        filesystem_(library_.handle()),
        cluster_blocks_(std::uint64_t{1} << static_cast<unsigned>(filesystem_->cluster_ratio_bits)),
        visit_(visit) {}

  std::optional<Error> run() {
    for (dgrp_t group = 0; group < filesystem_->group_desc_count && !stopped_; ++group) {
      try {
        visit_group(group, bitmap(group));
      } catch (const Error& error) {
        if (!damage_) damage_ = error;
      }
    }
    give();
    return std::move(damage_);
  }

 private:
  std::uint64_t clusters_of(dgrp_t group) const {
    const std::uint64_t begin = ext2fs_group_first_block2(filesystem_, group);
    const std::uint64_t end = ext2fs_group_last_block2(filesystem_, group) + 1;
    return div_round_up(end - begin, cluster_blocks_);
  }

  /// A bit for each cluster of the group; those that are in use are set.
  Buffer bitmap(dgrp_t group) {
    library_.check_group(group);
    const std::size_t size = filesystem_->super->s_clusters_per_group / 8;
    if (size > volume_.block_size() || clusters_of(group) > 8 * size) {
      throw Error(Fault::damaged, "a block bitmap is too small for its group")
          .found(std::to_string(clusters_of(group)) + " clusters")
          .expected("at most " +
                    std::to_string(8 * std::min<std::size_t>(size, volume_.block_size())));
    }
    if (ext2fs_has_group_desc_csum(filesystem_) != 0 &&
        ext2fs_bg_flags_test(filesystem_, group, EXT2_BG_BLOCK_UNINIT) != 0) {
      return bitmap_of_unused(group, size);
    }
    const std::uint64_t block = ext2fs_block_bitmap_loc(filesystem_, group);
    volume_.check_blocks(block, 1, "a block bitmap");
    Buffer bytes = volume_.read_block(block);
    if (ext2fs_block_bitmap_csum_verify(filesystem_, group, reinterpret_cast<char*>(bytes.data()),
                                        static_cast<int>(size)) == 0) {
      throw Error(Fault::damaged,
                  "the block bitmap of group " + std::to_string(group) + " fails its checksum")
          .advice("run e2fsck on a writable copy");
    }
    return bytes;
  }

  /// The bitmap of a group in which no file ever had a block is not written: only the tables count.
  Buffer bitmap_of_unused(dgrp_t group, std::size_t size) {
    Buffer bits(size);
    const auto mark = [&](std::uint64_t first, std::uint64_t count) {
      const std::uint64_t begin = ext2fs_group_first_block2(filesystem_, group);
      const std::uint64_t end = ext2fs_group_last_block2(filesystem_, group) + 1;
      const std::uint64_t stop = std::min(end, first + count);
      for (std::uint64_t block = std::max(first, begin); block < stop; ++block) {
        const std::uint64_t bit = (block - begin) / cluster_blocks_;
        bits.at(bit / 8) |= std::byte{1} << (bit % 8);
      }
    };
    blk64_t super = 0;
    blk64_t old_descriptors = 0;
    blk64_t new_descriptors = 0;
    ext2fs_super_and_bgd_loc2(filesystem_, group, &super, &old_descriptors, &new_descriptors,
                              nullptr);
    if (super != 0 || group == 0) mark(super, 1);
    if (old_descriptors != 0) {
      mark(old_descriptors,
           filesystem_->desc_blocks + std::uint64_t{filesystem_->super->s_reserved_gdt_blocks});
    }
    if (new_descriptors != 0) mark(new_descriptors, 1);
    mark(ext2fs_block_bitmap_loc(filesystem_, group), 1);
    mark(ext2fs_inode_bitmap_loc(filesystem_, group), 1);
    mark(ext2fs_inode_table_loc(filesystem_, group), filesystem_->inode_blocks_per_group);
    return bits;
  }

  void visit_group(dgrp_t group, const Buffer& bits) {
    const std::uint64_t begin = ext2fs_group_first_block2(filesystem_, group);
    const std::uint64_t end = ext2fs_group_last_block2(filesystem_, group) + 1;
    const std::uint64_t clusters = clusters_of(group);
    for (std::uint64_t bit = 0; bit < clusters && !stopped_; ++bit) {
      const std::byte eight = bits.at(bit / 8);
      if (eight == std::byte{0xff} && bit % 8 == 0) {
        bit += 7;
        continue;
      }
      if ((eight & (std::byte{1} << (bit % 8))) != std::byte{0}) continue;
      const std::uint64_t first = begin + bit * cluster_blocks_;
      add(first, std::min(end, first + cluster_blocks_));
    }
  }

  void add(std::uint64_t first, std::uint64_t end) {
    if (free_end_ != first) {
      give();
      free_first_ = first;
    }
    free_end_ = end;
  }

  void give() {
    if (free_end_ == free_first_ || stopped_) return;
    const std::uint64_t block_size = volume_.block_size();
    stopped_ = !visit_({free_first_ * block_size, (free_end_ - free_first_) * block_size});
    free_first_ = free_end_;
  }

  const Volume& volume_;
  Library library_;
  ext2_filsys filesystem_;
  const std::uint64_t cluster_blocks_;
  const std::function<bool(const ByteRange&)>& visit_;
  std::optional<Error> damage_;
  std::uint64_t free_first_ = 0;  ///< blocks that were found and not told yet
  std::uint64_t free_end_ = 0;
  bool stopped_ = false;
};

}  // namespace

std::optional<Error> visit_free_space(const std::shared_ptr<const Volume>& volume,
                                      const std::function<bool(const ByteRange&)>& visit) {
  return FreeSpace(volume, visit).run();
}

}  // namespace peelfs::ext
