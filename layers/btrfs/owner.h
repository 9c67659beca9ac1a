// What the blocks of a btrfs filesystem are, as far as they say so themselves: for `peelfs diff`.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "peelfs/byte_range.h"
#include "peelfs/block_device.h"

namespace peelfs::btrfs {

/// Names what the ranges touch: superblocks by their place, tree nodes by their own headers.
/// @param ranges in order, not overlapping
/// @return in order; neighbours with one name are one: "superblock", "root tree", "subvolume 257",
///   "data", ...; empty when there is no superblock
std::vector<NamedRange> name_blocks(const BlockDevice& device, std::span<const ByteRange> ranges);

}  // namespace peelfs::btrfs
