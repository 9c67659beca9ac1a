// A partition table found on one member of a RAID array is usually the array's.
#pragma once

#include <string>
#include <string_view>

#include "peelfs/layer.h"

namespace peelfs {

/// Whether libblkid sees a member of an array (MD, DDF, firmware RAID). LVM does not count: its
/// label has a row of its own before the partition tables.
inline bool is_raid_member(const Identity& identity) {
  return identity.usage == "raid" && identity.type != "LVM2_member";
}

/// Why nothing is shown inside: with striping, a partition cut from one member would mix up its
/// bytes.
/// @param table "GPT" or "MBR"
inline Trouble raid_member_trouble(std::string_view table, std::string_view raid_type) {
  return trouble_from(
      Error(Fault::unsupported, "the " + std::string(table) +
                                    " lies on one member of a RAID array and describes the array")
          .found("a superblock of type " + std::string(raid_type))
          .expected("a disk that is no RAID member")
          .advice("if the RAID superblock is a leftover, remove it from a copy with wipefs"));
}

}  // namespace peelfs
