// Which device of a btrfs filesystem this is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "peelfs/block_device.h"

namespace peelfs::btrfs {

struct Membership {
  std::string uuid;           ///< of the filesystem
  std::uint64_t devices = 0;  ///< that it has in all
  std::uint64_t device_id = 0;
};

/// What the first superblock says; nullopt when there is none. It is not verified.
std::optional<Membership> membership(const BlockDevice& device);

}  // namespace peelfs::btrfs
