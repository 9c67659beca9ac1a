// The originals, out of the command's reach.
#pragma once

#include <vector>

#include "world/world.h"

namespace peelfs::world {

/// Makes these files read-only in this mount namespace, at every place where their filesystem is
/// mounted. One that has several names (hard links) makes its whole filesystem read-only, since the
/// others cannot be known; so are filesystems that themselves lie on an original.
/// @throws Error
void protect_originals(const std::vector<Original>& originals,
                       const std::vector<dev_t>& mounted_from_originals);

}  // namespace peelfs::world
