// The row(s) of this folder in the table of layers.
#pragma once

#include "peelfs/layer.h"

namespace peelfs {

std::optional<Claim> ext_probe(const ProbeInput& input);
Opened ext_open(const OpenInput& input);

}  // namespace peelfs
