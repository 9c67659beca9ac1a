// Rows of what peelfs knows by name but does not open (kinds.h is their table). They say so where
// a device would otherwise be a disk with nothing on it, and keep the rows below them from taking
// its content for what it is not.
#pragma once

#include "peelfs/layer.h"

namespace peelfs {

/// Files in formats of disk images, and archives.
std::optional<Claim> foreign_image_probe(const ProbeInput& input);
/// Members, encrypted volumes, partition tables of other systems.
std::optional<Claim> foreign_probe(const ProbeInput& input);
/// Members of arrays whose metadata stands at the end.
std::optional<Claim> foreign_raid_probe(const ProbeInput& input);

/// Of all of them. @throws Error(Fault::unsupported): "WHAT; TOOL opens it"
Opened foreign_open(const OpenInput& input);

}  // namespace peelfs
