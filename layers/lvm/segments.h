// One segment of a logical volume as pieces of devices.
#pragma once

#include <cstddef>
#include <vector>

#include "lvm/assembly.h"
#include "lvm/volumes.h"
#include "peelfs/devices.h"
#include "raid/dm_metadata.h"
#include "raid/legs.h"
#include "raid/mirror_device.h"
#include "raid/ranges.h"

namespace peelfs::lvm {

/// Larger than any volume, in bytes: the size of placeholders for what is not here, so that no
/// offset into one leaves it.
inline constexpr std::uint64_t kPlaceholderSize = 1ULL << 62U;

/// Bytes of a logical volume, from where they are taken.
struct Span {
  std::vector<Piece> pieces;  ///< one behind the other; devices are never null
  raid::Ranges gaps;          ///< what of it cannot be read
};

/// Whether the legs of a mirror can be written to together.
struct MirrorWriting {
  std::string refusal;            ///< not empty: they cannot, and why
  std::vector<raid::Mark> marks;  ///< what must stand on the disk meanwhile
};

/// Maps segments. Bounds are proven here, once: what it returns lies inside of its devices.
class SegmentMapper {
 public:
  /// @param built the volumes that are ready, by index; those that a segment names must be
  SegmentMapper(const Assembly& assembly, const std::vector<Volume>& built);

  /// @param into gets the members that carry the segment, and what there is to say
  /// @throws Error(Fault::damaged) when the segment contradicts itself or its volume group
  Span map(const LogicalVolume& volume, const Segment& segment, Volume& into);

  /// `extents` in bytes, below 2^62. @throws Error(Fault::damaged)
  std::uint64_t bytes(std::uint64_t extents) const;

 private:
  Span map_striped(const Segment& segment, Volume& into);
  Span map_mirror(const Segment& segment, Volume& into);
  Span map_raid1(const Segment& segment, Volume& into);
  Span map_other(const Segment& segment, Volume& into) const;
  Span map_area(const Area& area, std::uint64_t extents, Volume& into);
  Span map_member(std::size_t index, const Area& area, std::uint64_t extents, Volume& into);
  Span map_volume(std::size_t index, std::uint64_t begin, std::uint64_t length, Volume& into);
  Span choose(const std::vector<raid::Leg>& legs, std::uint64_t length, Volume& into,
              const Troubles& troubles, const std::string& reason,
              const MirrorWriting& writing) const;
  MirrorWriting raid_writing(const Segment& segment,
                             const std::vector<raid::DmSuperblock>& superblocks) const;

  const Volume& built(const std::string& name) const;
  const LogicalVolume& described(const std::string& name) const;
  raid::Leg leg_of(Span span, std::uint64_t length) const;
  raid::DmSuperblock superblock_of(const RaidLeg& leg, Troubles& troubles) const;
  raid::Ranges bounded(raid::Ranges ranges, std::uint64_t length);

  const Assembly& assembly_;
  const std::vector<Volume>& built_;
  std::vector<DevicePtr> absent_, truncated_;  ///< by member: fails with the reason
  DevicePtr zeroes_;
  std::size_t ranges_left_;  ///< how many more ranges may be kept one by one
};

}  // namespace peelfs::lvm
