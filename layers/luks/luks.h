// The row(s) of this folder in the table of layers.
#pragma once

#include <array>

#include "peelfs/layer.h"

namespace peelfs {

std::optional<Claim> luks_probe(const ProbeInput& input);
Opened luks_open(const OpenInput& input);

inline constexpr std::array kLuksSignatures{Signature{0, "LUKS\xba\xbe", "crypto_LUKS"}};
inline constexpr std::array<std::string_view, 2> kLuksKinds{"luks", "crypto_LUKS"};
inline constexpr Layer kLuksLayer{.name = "luks",
                                  .probe = &luks_probe,
                                  .open = &luks_open,
                                  .traits = {.encryption = true, .detached_header = true},
                                  .signatures = kLuksSignatures,
                                  .kinds = kLuksKinds};

}  // namespace peelfs
