// A partition table found on one member of a RAID array is usually the array's.
#pragma once

#include "peelfs/layer.h"

namespace peelfs {

/// Whether libblkid sees a member of an array (MD, DDF, firmware RAID). LVM does not count: its
/// labels have a row of their own before the partition tables.
inline bool is_raid_member(const Identity& identity) {
  return identity.usage == "raid" && identity.type != "LVM2_member";
}

}  // namespace peelfs
