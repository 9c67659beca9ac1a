// From members to a volume group: whose metadata counts, and which device is which physical volume.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "lvm/metadata.h"
#include "peelfs/layer.h"
#include "peelfs/trouble.h"

namespace peelfs::lvm {

/// What stands for one physical volume of the group.
struct Carrier {
  DevicePtr device;        ///< null: it is not here
  std::size_t member = 0;  ///< its index in OpenInput.members
  std::string missing;     ///< why it is not here, for messages
};

struct Assembly {
  VolumeGroup group;
  std::vector<Carrier> carriers;  ///< one for each of group.members
  /// Members whose own metadata did not tell, and that the group names: Opened::adopted.
  std::vector<std::size_t> adopted;
  std::vector<MemberReport> reports;  ///< of single members
  Troubles troubles;                  ///< of the group
};

/// The metadata with the highest seqno counts, on any member; a member with an older one is stale.
/// Members that it does not name are left out; that is reported, unless their own metadata never
/// named the group. Of several devices
/// with one UUID the one with the newest metadata is taken, then one that is large enough, then the
/// first.
/// @throws Error(Fault::damaged) when no member's metadata can be parsed
Assembly assemble(std::span<const Member> members);

/// Whether the member's own metadata tells which group it belongs to.
bool knows_group(const Member& member);

/// What there is to say of physical volumes when none of them knows its group.
Trouble explain_without_group(std::span<const Member> members);

/// "UUID (last seen as /dev/sdb)"
std::string name_member(const GroupMember& member);
/// What there is to say of a member that is here, and that LVM2 has marked as missing.
std::string marked_missing(const GroupMember& member);

}  // namespace peelfs::lvm
