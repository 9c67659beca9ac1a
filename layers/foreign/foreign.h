// The row of what peelfs knows by name but does not peel: it keeps the rows below it from taking
// the content of a RAID member for a disk of its own.
#pragma once

#include "peelfs/layer.h"

namespace peelfs {

std::optional<Claim> foreign_probe(const ProbeInput& input);
Opened foreign_open(const OpenInput& input);

}  // namespace peelfs
