// libblkid's list of devices.
#pragma once

#include <string>
#include <vector>

#include "world/world.h"

namespace peelfs::world {

/// The text of a blkid.tab that names these devices: filesystem tools look in it for the other
/// members of a filesystem, and by UUID for an external journal.
std::string device_list(const std::vector<ListedDevice>& devices);

}  // namespace peelfs::world
