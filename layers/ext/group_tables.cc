#include "ext/group_tables.h"

namespace peelfs::ext {

void for_each_table(ext2_filsys filesystem,
                    const std::function<void(const std::string& what, std::uint64_t block,
                                             std::uint64_t count)>& visit) {
  const std::uint64_t descriptor_blocks = filesystem->desc_blocks;
  const std::uint64_t reserved = filesystem->super->s_reserved_gdt_blocks;
  if (filesystem->super->s_first_data_block == 1) visit("boot block", 0, 1);
  for (dgrp_t group = 0; group < filesystem->group_desc_count; ++group) {
    blk64_t super = 0;
    blk64_t old_descriptors = 0;
    blk64_t new_descriptors = 0;
    ext2fs_super_and_bgd_loc2(filesystem, group, &super, &old_descriptors, &new_descriptors,
                              nullptr);
    // Block 0 is where the first one lies, unless blocks are of 1 KiB.
    if (super != 0 || group == 0) visit(group == 0 ? "superblock" : "backup superblock", super, 1);
    const std::string copy = group == 0 ? "group descriptors" : "backup group descriptors";
    if (old_descriptors != 0) {
      visit(copy, old_descriptors, descriptor_blocks);
      visit("reserved group descriptors", old_descriptors + descriptor_blocks, reserved);
    }
    if (new_descriptors != 0) visit(copy, new_descriptors, 1);
    visit("block bitmap", ext2fs_block_bitmap_loc(filesystem, group), 1);
    visit("inode bitmap", ext2fs_inode_bitmap_loc(filesystem, group), 1);
    visit("inode table", ext2fs_inode_table_loc(filesystem, group),
          filesystem->inode_blocks_per_group);
  }
}

}  // namespace peelfs::ext
