// From the description of a volume group to devices: which byte of a logical volume lies where.
#pragma once

#include <cstddef>
#include <vector>

#include "lvm/assembly.h"
#include "peelfs/block_device.h"
#include "peelfs/trouble.h"
#include "raid/ranges.h"

namespace peelfs::lvm {

/// One logical volume, visible or not, as a device.
struct Volume {
  DevicePtr device;  ///< never null
  /// What of it cannot be read: missing, truncated, unsupported. May be more than that, never less.
  raid::Ranges gaps;
  std::vector<std::size_t> members;  ///< indices of OpenInput.members that carry it, sorted
  Troubles troubles;                 ///< causes; also those of volumes that it is made of
  bool doubtful = false;  ///< a part of it lies where LVM2 went on without: it may be old

  /// Adds to `members`.
  void carry(const std::vector<std::size_t>& more);
};

/// Builds every volume of the group, those that others are made of first; in the order of
/// group.volumes. What is wrong with one leaves the others alone. Time and memory grow linearly
/// with the metadata. Reads mirror logs and RAID superblocks, where a choice between legs is to be
/// made.
std::vector<Volume> build_volumes(const Assembly& assembly);

/// "vg/lv", and as device-mapper names it: hyphens doubled, joined by one.
std::string display_name(const VolumeGroup& group, const LogicalVolume& volume);
std::string mapper_name(const VolumeGroup& group, const LogicalVolume& volume);

}  // namespace peelfs::lvm
