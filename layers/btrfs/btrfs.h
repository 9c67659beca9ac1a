// The row of this folder in the table of layers. No files are shown yet; what is there is the names
// of blocks.
#pragma once

#include "peelfs/layer.h"

namespace peelfs {

/// Takes what libblkid takes for a btrfs. Each device of one is looked at alone.
std::optional<Claim> btrfs_probe(const ProbeInput& input);
Opened btrfs_open(const OpenInput& input);

inline constexpr Layer kBtrfsLayer{
    .name = "btrfs", .probe = &btrfs_probe, .open = &btrfs_open, .traits = {.filesystem = true}};

}  // namespace peelfs
