// The row(s) of this folder in the table of layers.
#pragma once

#include <array>

#include "peelfs/layer.h"

namespace peelfs {

std::optional<Claim> ext_probe(const ProbeInput& input);
Opened ext_open(const OpenInput& input);

/// Takes a super block that a filesystem can have, and no journal device.
std::string_view ext_recognise(const BlockDevice& file);

inline constexpr std::array<std::string_view, 4> kExtKinds{"ext", "ext2", "ext3", "ext4"};
inline constexpr Layer kExtLayer{.name = "ext",
                                 .probe = &ext_probe,
                                 .open = &ext_open,
                                 .traits = {.filesystem = true},
                                 .recognise = &ext_recognise,
                                 .kinds = kExtKinds};

}  // namespace peelfs
