// VHD images: a raw disk with a footer of 512 bytes behind it (fixed), or blocks that a table finds
// (dynamic). Those that build on another image (differencing) are a row of layers/foreign.
#pragma once

#include <array>

#include "peelfs/layer.h"

namespace peelfs {

/// Claims fixed images by a footer at the end that names the size of just this file, and dynamic
/// ones by the copy of the footer at the start.
std::optional<Claim> vhd_probe(const ProbeInput& input);
Opened vhd_open(const OpenInput& input);

/// Recognises fixed images, which no signature at the start tells.
std::string_view vhd_recognise(const BlockDevice& file);

inline constexpr std::array kVhdSignatures{Signature{0, "conectix", "vhd"}};
inline constexpr std::array<std::string_view, 2> kVhdSuffixes{".vhd", ".vpc"};
inline constexpr std::array<std::string_view, 1> kVhdKinds{"vhd"};
inline constexpr Layer kVhdLayer{.name = "vhd",
                                 .probe = &vhd_probe,
                                 .open = &vhd_open,
                                 .traits = {.image = true},
                                 .signatures = kVhdSignatures,
                                 .suffixes = kVhdSuffixes,
                                 .qemu_name = "vpc",
                                 .recognise = &vhd_recognise,
                                 .kinds = kVhdKinds};

}  // namespace peelfs
