// VHD images of fixed size: a raw disk, and a footer of 512 bytes behind it. Other VHD images are a
// row of layers/foreign.
#pragma once

#include <array>

#include "peelfs/layer.h"

namespace peelfs {

std::optional<Claim> vhd_probe(const ProbeInput& input);
Opened vhd_open(const OpenInput& input);

/// The footer of a disk of just this size.
std::string_view vhd_recognise(const BlockDevice& file);

inline constexpr std::array<std::string_view, 2> kVhdSuffixes{".vhd", ".vpc"};
inline constexpr Layer kVhdLayer{.name = "vhd",
                                 .probe = &vhd_probe,
                                 .open = &vhd_open,
                                 .traits = {.image = true},
                                 .suffixes = kVhdSuffixes,
                                 .recognise = &vhd_recognise};

}  // namespace peelfs
