// What is on a device, by libblkid.
#pragma once

#include "peelfs/layer.h"

namespace peelfs {

/// Asks libblkid, on a sparse memfd that holds the regions of the device that its probes look at.
/// Unreadable regions count as zeroes: an identity is a hint for people and layers, never a proof.
/// @param budget pays for the bytes that are read; null: they are not counted
/// @param partition a partition of a table: its end may be that of a disk, with the metadata of a
///   firmware RAID, which a filesystem then outweighs
/// @return empty strings where nothing is known. Never throws for what is on the device.
/// @throws Error(Fault::denied) when this host has no memory or descriptors for it
Identity identify(const BlockDevice& device, Budget* budget = nullptr, bool partition = false);

}  // namespace peelfs
