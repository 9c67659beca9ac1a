// Which member of which MD array a device is, by its superblock. The array is not assembled.
//
// Followed: Linux, include/uapi/linux/raid/md_p.h (mdp_superblock_s of version 0.90,
// mdp_superblock_1 of versions 1.0, 1.1 and 1.2).
#pragma once

#include <optional>

#include "peelfs/layer.h"

namespace peelfs::foreign {

/// Reads up to four places, 4 KiB each. Checksums are not verified: nothing is opened by what this
/// says.
/// @return nullopt: there is no superblock where it would be, or it cannot be read. A spare has
///   Membership::expected 0: it is none of those that the array needs.
std::optional<Membership> md_membership(const BlockDevice& device);

}  // namespace peelfs::foreign
