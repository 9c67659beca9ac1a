// A striped segment, as device-mapper's "striped" target maps it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/devices.h"

namespace peelfs::raid {

/// Chunks of `stripe_size` bytes, dealt to the stripes in turn.
/// @param stripes pieces of one and the same length, a multiple of stripe_size; at least one
DevicePtr make_striped(std::vector<Piece> stripes, std::uint64_t stripe_size,
                       std::string description);

}  // namespace peelfs::raid
