// VHD images of fixed size: a raw disk, and a footer of 512 bytes behind it. Other VHD images are a
// row of layers/foreign.
#pragma once

#include "peelfs/layer.h"

namespace peelfs {

std::optional<Claim> vhd_probe(const ProbeInput& input);
Opened vhd_open(const OpenInput& input);

}  // namespace peelfs
