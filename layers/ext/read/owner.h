// What the blocks of an ext2/3/4 filesystem belong to.
#pragma once

#include <span>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/filesystem.h"

namespace peelfs::ext {

/// Filesystem::owners(): one look at every inode in use, by libext2fs, which opens nothing and
/// writes nothing. Damage only leaves blocks without an owner.
/// @return structures are "superblock", "group descriptors", "block bitmap", "inode bitmap", "inode
///   table", "journal", copies of these, "bad blocks"
/// @throws Error when there is no filesystem that can be opened
std::vector<Filesystem::OwnedRange> find_owners(const BlockDevice& device,
                                                std::span<const ByteRange> ranges);

}  // namespace peelfs::ext
