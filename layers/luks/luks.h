// The row(s) of this folder in the table of layers.
#pragma once

#include "peelfs/layer.h"

namespace peelfs {

std::optional<Claim> luks_probe(const ProbeInput& input);
Opened luks_open(const OpenInput& input);

}  // namespace peelfs
