// What device-mapper's mirrors and arrays write of their legs: which of them are in sync.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "peelfs/block_device.h"
#include "raid/ranges.h"

namespace peelfs::raid {

/// Which regions of a "mirror" segment are the same on all legs, from its log on disk (dm-log.c).
/// @param log the log's device
/// @param region_size bytes
/// @param length bytes of the segment
/// @throws Error when the log is damaged or cannot be read
Ranges read_mirror_log(const BlockDevice& log, std::uint64_t region_size, std::uint64_t length);

/// What the superblock of one leg of an array says (dm-raid.c).
struct DmSuperblock {
  enum class State {
    none,        ///< the leg has no metadata volume
    unreadable,  ///< it cannot be read
    blank,       ///< there is no superblock: the leg was never in use
    valid,
  };
  State state = State::none;
  std::uint32_t array_position = 0;
  std::uint64_t events = 0;
  std::vector<std::uint64_t> failed_devices;  ///< bit n: the device at position n has failed
  std::uint64_t disk_recovery_offset = 0;     ///< sectors; all ones: in sync
  std::uint64_t array_resync_offset = 0;      ///< sectors; all ones: the array is in sync
  std::string unsupported;                    ///< not empty: what of it is beyond a plain mirror
};

/// @throws Error when it cannot be read
DmSuperblock read_raid_superblock(const BlockDevice& metadata);

/// How much of each leg of a raid1 array may be read.
struct RaidSync {
  std::uint64_t in_sync = 0;  ///< sectors from the start; all ones: everything
  std::string reason;         ///< not empty: why the leg is not in sync, or not wholly
  bool freshest = false;      ///< its superblock is the one that counts
};
std::vector<RaidSync> judge_raid_legs(const std::vector<DmSuperblock>& superblocks);

}  // namespace peelfs::raid
