// The row(s) of this folder in the table of layers.
#pragma once

#include "peelfs/layer.h"

namespace peelfs {

std::optional<Claim> qcow2_probe(const ProbeInput& input);

/// The disk of an image and its internal snapshots, which are named DISK@SNAPSHOT. An encrypted
/// image for which there is no key is an Error(Fault::locked).
Opened qcow2_open(const OpenInput& input);

/// The external data file, if there is one. @throws Error
std::vector<std::string> qcow2_parts(const BlockDevice& file);

}  // namespace peelfs
