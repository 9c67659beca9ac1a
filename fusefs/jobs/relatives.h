// Devices that make up one filesystem together: repair tools look for the others by UUID, and write
// to them.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "peel/catalog.h"
#include "world/world.h"

namespace peelfs::jobs {

/// The other devices of the filesystem on one device.
struct Relatives {
  bool several = false;  ///< it has other devices, or an external journal, here or elsewhere
  std::string what;      ///< "is one of 3 devices of a btrfs filesystem"
  std::string missing;   ///< "1 of them is in none of the sources"; empty: all are there
  /// It is known to have none: the filesystem is whole, of a kind that lies on one device. Where
  /// neither this nor `several` is true, nothing is known.
  bool alone = false;
  /// Every device of it that is in the sources, by id, itself among them, in ascending order.
  std::set<std::uint64_t> devices;
};

/// @throws Error when two devices claim to be the same one
Relatives relatives_of(const Catalog& catalog, const Catalog::Entry& entry);

/// What libblkid is to know while a command works on this device: every device of the same moment
/// (the same internal snapshot, or none) that is no part of another.
/// @param folder where the devices are mounted
std::vector<world::ListedDevice> listed_with(const Catalog& catalog, const Catalog::Entry& entry,
                                             const std::string& folder);

/// Of a mount with an overlay: one sentence that says that tools run on it can find the originals,
/// if one of its filesystems lies on several devices and the host shows a source as a block device.
/// @return empty: there is nothing to say
std::string visible_originals(const Catalog& catalog);

}  // namespace peelfs::jobs
