// LVM2: physical volumes are put together to volume groups, whose logical volumes are shown.
#pragma once

#include <array>

#include "peelfs/layer.h"

namespace peelfs {

/// Claims LVM2's physical volumes (and LVM1's, to say that they cannot be read), by their labels.
///
/// Claim.group is the UUID of the volume group. It is "" for a physical volume whose own metadata
/// does not tell (it has none, LVM2 was told to ignore it, it is damaged): such a member belongs to
/// the group of this layer whose metadata names its UUID, so the scanner gives it to every one of
/// them. It is "pv:" and the UUID for one that is in no group.
///
/// MD members are not claimed: the array has to be assembled first, because the bytes of one leg
/// need not be those of the array.
std::optional<Claim> lvm_probe(const ProbeInput& input);

/// Opens one volume group, or says why members without one show nothing. Members that its metadata
/// does not name are passed over. Logical volumes are named as device-mapper does; parts of others
/// (legs, pool data) are shown with peel = false.
/// @throws Error(Fault::damaged) when no member's metadata can be parsed
Opened lvm_open(const OpenInput& input);

/// Takes a label of LVM2 in one of the first four sectors.
std::string_view lvm_recognise(const BlockDevice& file);

inline constexpr std::array<std::string_view, 2> kLvmKinds{"lvm", "LVM2_member"};
inline constexpr Layer kLvmLayer{.name = "lvm",
                                 .probe = &lvm_probe,
                                 .open = &lvm_open,
                                 .recognise = &lvm_recognise,
                                 .kinds = kLvmKinds};

}  // namespace peelfs
