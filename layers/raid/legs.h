// Mirrors: which leg a read goes to.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/devices.h"
#include "raid/ranges.h"

namespace peelfs::raid {

/// Most legs that a mirror can have: md's limit for a device-mapper array (MAX_RAID_DEVICES).
inline constexpr std::size_t kMaxLegs = 253;

/// One copy of a mirror's bytes.
struct Leg {
  DevicePtr device;
  std::uint64_t offset = 0;  ///< bytes in `device`, where the copy begins
  Ranges good;               ///< what of it is in sync and can be read
};

struct Choice {
  std::vector<Piece> pieces;  ///< one behind the other, the whole length
  Ranges gaps;                ///< what no leg has
};

/// Takes each byte from the first leg that has it.
/// @param nobody stands for bytes that no leg has: reading it fails with the reason
Choice choose_legs(const std::vector<Leg>& legs, std::uint64_t length, const DevicePtr& nobody);

}  // namespace peelfs::raid
