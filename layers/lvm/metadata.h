// A volume group, as its metadata text describes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace peelfs::lvm {

/// The start of a segment's stripe or of a mirror's leg: an extent of a physical or logical volume.
struct Area {
  std::string volume;
  std::uint32_t extent = 0;
};

/// One leg of a RAID segment, by the names of the logical volumes that hold it.
struct RaidLeg {
  std::string metadata;  ///< empty: it has none
  std::string data;
};

/// A run of extents of a logical volume that are mapped in one way.
struct Segment {
  std::uint32_t start_extent = 0;
  std::uint32_t extent_count = 0;
  std::string type;               ///< with the flags that LVM2 appends: "raid5+RESHAPE"
  std::vector<Area> areas;        ///< of striped and mirror
  std::vector<RaidLeg> legs;      ///< of raid1
  std::uint32_t stripe_size = 0;  ///< sectors
  std::uint32_t region_size = 0;  ///< sectors
  std::optional<std::uint32_t> extents_moved;  ///< of a pvmove
  std::string mirror_log;                      ///< empty: it is in memory only
  std::string origin, cow_store;               ///< of snapshot
  bool merging = false;                        ///< the snapshot is being merged into its origin
};

struct LogicalVolume {
  std::string name;
  std::string uuid;
  bool visible = false, writable = false, rebuild = false, write_mostly = false;
  std::vector<Segment> segments;  ///< in the order of their extents, without gaps; unless problem
  std::uint64_t extents = 0;
  std::string problem;  ///< not empty: the description contradicts itself, and what of it
};

/// A physical volume as its group knows it.
struct GroupMember {
  std::string name;                ///< "pv0": what areas refer to
  std::string uuid;                ///< 32 characters, without hyphens
  std::string device_hint;         ///< where it was last seen: "/dev/sdb"
  std::uint64_t device_size = 0;   ///< sectors; 0: not recorded
  std::uint64_t first_extent = 0;  ///< pe_start, sectors
  std::uint32_t extents = 0;       ///< pe_count
  bool missing = false;            ///< LVM2 went on without it: what it holds may be old
  std::string problem;             ///< not empty: its description is damaged, and where
};

struct VolumeGroup {
  std::string name;
  std::string uuid;  ///< 32 characters, without hyphens
  std::uint64_t seqno = 0;
  std::uint64_t extent_size = 0;  ///< sectors of 512 bytes, 1 to 2^32 - 1
  bool exported = false, clustered = false;
  std::string lock_type, system_id;
  std::vector<GroupMember> members;
  std::vector<LogicalVolume> volumes;
  std::unordered_map<std::string, std::size_t> member_index, volume_index;  ///< by name
};

/// @param text whose checksum has matched, and which check_metadata() has accepted
/// @throws Error(Fault::damaged) when it is no volume group. What is wrong with one volume only is
///   said there.
/// Thread-safe.
VolumeGroup parse_metadata(const std::string& text);

}  // namespace peelfs::lvm
