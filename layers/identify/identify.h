// What is on a device, by libblkid.
#pragma once

#include "peelfs/layer.h"

namespace peelfs {

/// Asks libblkid, on a sparse memfd that holds the regions of the device that its probes look at.
/// Unreadable regions count as zeroes: an identity is a hint for people and layers, never a proof.
/// @return empty strings where nothing is known. Never throws for what is on the device.
Identity identify(const BlockDevice& device);

}  // namespace peelfs
