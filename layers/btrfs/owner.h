// What the blocks of a btrfs filesystem belong to, as far as they say so themselves.
#pragma once

#include <span>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/filesystem.h"

namespace peelfs::btrfs {

/// Filesystem::owners(): superblocks by their place, tree nodes by their own headers. What has no
/// header is Kind::data, also where it is free.
/// @return structures are "superblock", "root tree", "subvolume 257", ...; empty when there is no
///   superblock
std::vector<Filesystem::OwnedRange> find_owners(const BlockDevice& device,
                                                std::span<const ByteRange> ranges);

}  // namespace peelfs::btrfs
