// What the blocks of an ext2/3/4 filesystem are: for `peelfs diff`, which says what changed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "peelfs/byte_range.h"
#include "peelfs/block_device.h"

namespace peelfs::ext {

/// Names every block that the ranges touch: one look at every inode in use, by libext2fs, which
/// opens nothing and writes nothing. Damage only leaves blocks without a name.
/// @param ranges in order, not overlapping
/// @return in order; neighbours with one name are one: "superblock", "group descriptors", "block
///   bitmap", "inode bitmap", "inode table", "journal", "directory /etc", "file /etc/fstab", "block
///   map or attributes of /etc/fstab"; "" for what nothing in the filesystem names (free space)
/// @throws Error when there is no filesystem that can be opened
std::vector<NamedRange> name_blocks(const DevicePtr& device, std::span<const ByteRange> ranges);

}  // namespace peelfs::ext
