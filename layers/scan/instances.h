// Which members of a group belong together. A volume group may be there several times: as it is
// now, in snapshots, and in copies of its disks. All of them carry the same UUIDs, and a volume put
// together from two of them is made of wrong bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "peelfs/layer.h"

namespace peelfs {

/// A snapshot that a device lies in.
struct TakenAt {
  std::uint64_t device = 0;  ///< id of the snapshot's node
  Moment moment;
};

/// One member of a group that is to be opened.
struct GroupMember {
  std::uint64_t id = 0;
  std::string uuid;  ///< of the member (PV UUID), which a clone carries, too
  /// The snapshots it lies in, outermost first; empty: it is of now.
  std::vector<TakenAt> taken;
  /// The places it lies in, outermost first: the folder of its source, the source, the devices in
  /// between, the folders of a filesystem. Equal text means the same place.
  std::vector<std::string> places;
};

/// Members that are opened together.
struct Instance {
  std::vector<GroupMember> members;  ///< no two with the same UUID
  /// Others of the same moment have the same UUIDs, so which copies belong together had to be told
  /// by the places that they lie in, if at all.
  bool among_copies = false;
};

/// Snapshots of several disks that one operation took may differ by this many seconds.
inline constexpr std::uint32_t kSameMomentSeconds = 10;

/// Splits the members of one group into instances. Two members come into one only when
/// - they are of the same moment: both of now, or in snapshots of one name of which the earliest
///   and the latest are at most kSameMomentSeconds apart; and
/// - it is clear which copy belongs to which: no UUID comes twice at that moment, or the members
///   lie in one place (a folder, a disk) in which none comes twice, or they are the only ones left
///   when complete sets that lie in one place are taken away.
/// Snapshots of several disks are taken one after the other, so the dates within one instance may
/// differ: time_span() tells by how much, and what is put together from them says so.
/// The order in which members were found plays no part. In doubt members stay apart: a volume is
/// incomplete then, and says so. Snapshots without a name or a date belong to themselves only.
std::vector<Instance> split_instances(const std::vector<GroupMember>& members);

/// Whether what lies in both can be of one moment, as split_instances() has it.
bool may_be_of_one_moment(const std::vector<TakenAt>& a, const std::vector<TakenAt>& b);

/// The seconds of the earliest and the latest of the snapshots that members lie in, at the depth at
/// which they are furthest apart. Equal where all are of one second, or live, or not dated.
struct TimeSpan {
  std::uint32_t earliest = 0;
  std::uint32_t latest = 0;
  std::uint32_t seconds() const noexcept { return latest - earliest; }
};
TimeSpan time_span(const std::vector<GroupMember>& members);

/// How many of their outermost places two members share.
std::size_t shared_places(const GroupMember& a, const GroupMember& b);

}  // namespace peelfs
