// The row(s) of this folder in the table of layers.
#pragma once

#include "peelfs/layer.h"

namespace peelfs {

std::optional<Claim> gpt_probe(const ProbeInput& input);
Opened gpt_open(const OpenInput& input);

std::optional<Claim> mbr_probe(const ProbeInput& input);
Opened mbr_open(const OpenInput& input);

}  // namespace peelfs
