// Follows map() and map_write() down to where bytes are. Every answer of a layer is checked.
#pragma once

#include <cstdint>

#include "peelfs/block_device.h"
#include "peelfs/io.h"

namespace peelfs {

/// @throws Error(Fault::usage) when the range leaves the device
void check_range(const BlockDevice& device, std::uint64_t offset, std::uint64_t length);

/// resolve() for writing: by map_write().
Resolved resolve_write(const BlockDevice& device, std::uint64_t offset, std::uint64_t length,
                       WriteKind kind);

}  // namespace peelfs
