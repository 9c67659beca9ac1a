// Rows that stand in for layers that a build leaves out (PEELFS_WITH_... in CMakeLists.txt): what
// they would open is recognised as libblkid recognises it, and says what is missing.
#pragma once

#include <array>
#include <string_view>

#include "peelfs/layer.h"

namespace peelfs {

std::optional<Claim> left_out_luks_probe(const ProbeInput& input);
std::optional<Claim> left_out_lvm_probe(const ProbeInput& input);
std::optional<Claim> left_out_ext_probe(const ProbeInput& input);
/// @throws Error(Fault::unsupported), always
Opened left_out_open(const OpenInput& input);
/// A filesystem is shown nevertheless, but what is in it is not.
Opened left_out_ext_open(const OpenInput& input);

// What a person may name is named as ever, and answered.
inline constexpr std::array<std::string_view, 2> kLuksLeftOutKinds{"luks", "crypto_LUKS"};
inline constexpr std::array<std::string_view, 2> kLvmLeftOutKinds{"lvm", "LVM2_member"};
inline constexpr std::array<std::string_view, 4> kExtLeftOutKinds{"ext", "ext2", "ext3", "ext4"};

inline constexpr Layer kLuksLeftOut{.name = "luks",
                                    .probe = &left_out_luks_probe,
                                    .open = &left_out_open,
                                    .traits = {.encryption = true, .detached_header = true},
                                    .kinds = kLuksLeftOutKinds};
inline constexpr Layer kLvmLeftOut{
    .name = "lvm", .probe = &left_out_lvm_probe, .open = &left_out_open, .kinds = kLvmLeftOutKinds};
inline constexpr Layer kExtLeftOut{.name = "ext",
                                   .probe = &left_out_ext_probe,
                                   .open = &left_out_ext_open,
                                   .traits = {.filesystem = true},
                                   .kinds = kExtLeftOutKinds};

}  // namespace peelfs
