// Which device of a btrfs filesystem this is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "peelfs/block_device.h"

namespace peelfs::btrfs {

struct Membership {
  std::string uuid;           ///< of the filesystem
  std::uint64_t devices = 0;  ///< that it has in all; the most that any superblock says
  std::uint64_t device_id = 0;
};

/// What the superblocks say: the first one, or a copy of it (at 64 MiB and 256 GiB) where that is
/// lost. nullopt when there is none. Checksums are not verified: a damaged filesystem is the case
/// that this is for.
std::optional<Membership> membership(const BlockDevice& device);

}  // namespace peelfs::btrfs
