#include "lvm/assembly.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "lvm/lvm_disk.h"
#include "lvm/physical_volume.h"
#include "peelfs/error.h"
#include "peelfs/figure.h"

namespace peelfs::lvm {

namespace {

/// A member with what its probe found.
struct Candidate {
  std::size_t index = 0;
  const Member* member = nullptr;
  const PhysicalVolume* volume = nullptr;
  const MetadataCopy* newest = nullptr;
};

std::vector<Candidate> candidates_of(std::span<const Member> members) {
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Claim* claim = members[i].claim;
    if (claim == nullptr || !claim->state || claim->format != "LVM2_member") continue;
    const auto* volume = static_cast<const PhysicalVolume*>(claim->state.get());
    candidates.push_back({i, &members[i], volume, volume->newest()});
  }
  return candidates;
}

std::string called(const Candidate& candidate) {
  return "physical volume " + uuid_with_hyphens(candidate.volume->uuid) + " (" +
         candidate.member->stem + ")";
}

/// Members whose metadata has the same seqno and another content: the group was changed by two
/// hosts that did not see one another.
void compare_contents(const std::vector<const Candidate*>& order, const Candidate& used,
                      Troubles& troubles) {
  const MetadataCopy& ours = *used.newest;
  for (const Candidate* one : order) {
    const MetadataCopy& other = *one->newest;
    if (other.summary.seqno != ours.summary.seqno || other.text.checksum == ours.text.checksum) {
      continue;
    }
    troubles.add(Trouble::degraded, "metadata of " + called(*one) + " differs from that of " +
                                        called(used) + ", which is used, though both have seqno " +
                                        std::to_string(ours.summary.seqno));
  }
}

/// Parses the newest metadata that can be parsed.
VolumeGroup newest_group(const std::vector<Candidate>& candidates, Troubles& troubles) {
  std::vector<const Candidate*> order;
  for (const Candidate& one : candidates) {
    if (one.newest != nullptr) order.push_back(&one);
  }
  std::ranges::stable_sort(order, [](const Candidate* a, const Candidate* b) {
    return a->newest->summary.seqno > b->newest->summary.seqno;
  });
  std::optional<Error> failure;
  const MetadataCopy* failed = nullptr;
  for (const Candidate* one : order) {
    const MetadataCopy& copy = *one->newest;
    // The same text again would fail in the same way.
    if (failed != nullptr && failed->text.checksum == copy.text.checksum &&
        failed->text.size + failed->text.second_size == copy.text.size + copy.text.second_size) {
      continue;
    }
    try {
      const std::string text = read_text(*one->member->device, copy.text);
      check_metadata(text);
      VolumeGroup group = parse_metadata(text);
      if (group.uuid != copy.summary.vg_uuid || group.seqno != copy.summary.seqno) {
        throw Error(Fault::damaged, "LVM2 metadata names its volume group in two ways")
            .found(group.uuid + ", seqno " + std::to_string(group.seqno))
            .expected(copy.summary.vg_uuid + ", seqno " + std::to_string(copy.summary.seqno));
      }
      if (failure) {
        troubles.add(Trouble::damaged, std::string(failure->what()) +
                                           "; older metadata is used, with seqno " +
                                           std::to_string(group.seqno));
      }
      compare_contents(order, *one, troubles);
      return group;
    } catch (const Error& error) {
      failed = &copy;
      if (!failure) {
        failure = error;
        failure->add_context(called(*one));
      }
    }
  }
  if (failure) throw Error(*failure);
  throw Error(Fault::damaged, "no member holds readable LVM2 metadata");
}

bool holds(const Candidate& candidate, const GroupMember& member) {
  return member.device_size == 0 || candidate.member->device->size() / 512 >= member.device_size;
}

/// Whether `a` is the better one of two devices with the same UUID.
bool better(const Candidate& a, const Candidate& b, const GroupMember& member) {
  const auto age = [](const Candidate& one) {
    return one.newest != nullptr ? one.newest->summary.seqno : 0;
  };
  if (age(a) != age(b)) return age(a) > age(b);
  return holds(a, member) && !holds(b, member);
}

bool is_stale(const Candidate& candidate, const VolumeGroup& group) {
  return candidate.newest != nullptr && candidate.newest->summary.seqno < group.seqno;
}

void describe_carrier(const Candidate& candidate, const GroupMember& member,
                      const VolumeGroup& group, std::vector<MemberReport>& reports) {
  const auto report = [&](Trouble::State state, const std::string& reason, bool stale = false) {
    reports.push_back({candidate.index, {state, printable(reason)}, stale});
  };
  if (candidate.newest != nullptr && candidate.newest->summary.seqno != group.seqno) {
    report(Trouble::note,
           called(candidate) + " holds older metadata: seqno " +
               std::to_string(candidate.newest->summary.seqno) + ", the newest is " +
               std::to_string(group.seqno),
           is_stale(candidate, group));
  }
  if (const std::string damage = candidate.volume->damage(); !damage.empty()) {
    report(Trouble::note, called(candidate) + ": " + damage + "; another copy is used");
  }
  if (!holds(candidate, member)) {
    report(Trouble::degraded, called(candidate) + " is too small: found " +
                                  std::to_string(candidate.member->device->size()) +
                                  " bytes, expected " + figure(member.device_size, 512) +
                                  " sectors; the image may be truncated");
  }
  if (member.missing) report(Trouble::degraded, marked_missing(member));
}

void report_missing(const Assembly& assembly, Troubles& troubles) {
  constexpr std::size_t kMost = 16;
  std::size_t missing = 0;
  std::string names;
  for (std::size_t i = 0; i < assembly.carriers.size(); ++i) {
    if (assembly.carriers[i].device) continue;
    if (++missing <= kMost) {
      names += (names.empty() ? "" : ", ") + name_member(assembly.group.members[i]);
    }
  }
  if (missing == 0) return;
  if (missing > kMost) names += " and " + std::to_string(missing - kMost) + " more";
  troubles.add(Trouble::degraded, std::to_string(missing) + " of " +
                                      std::to_string(assembly.carriers.size()) +
                                      " physical volumes of volume group " + assembly.group.name +
                                      " missing: " + names);
}

void note_peculiarities(const VolumeGroup& group, Troubles& troubles) {
  if (group.exported) troubles.add(Trouble::note, "volume group " + group.name + " is exported");
  if (group.clustered || !group.lock_type.empty()) {
    troubles.add(Trouble::note, "volume group " + group.name + " is shared between hosts (" +
                                    (group.lock_type.empty() ? "clustered" : group.lock_type) +
                                    "): one of them may be changing it");
  }
}

}  // namespace

bool knows_group(const Member& member) {
  const std::vector<Candidate> one = candidates_of({&member, 1});
  return !one.empty() && one.front().newest != nullptr;
}

std::string name_member(const GroupMember& member) {
  std::string name = member.uuid.empty() ? member.name : uuid_with_hyphens(member.uuid);
  if (!member.device_hint.empty()) name += " (last seen as " + member.device_hint + ")";
  return name;
}

std::string marked_missing(const GroupMember& member) {
  return "physical volume " + name_member(member) +
         " is marked as missing: LVM went on without it, so what it holds may be old (vgextend "
         "--restoremissing takes it back)";
}

Assembly assemble(std::span<const Member> members) {
  const std::vector<Candidate> candidates = candidates_of(members);
  Assembly assembly;
  assembly.group = newest_group(candidates, assembly.troubles);
  VolumeGroup& group = assembly.group;

  std::unordered_map<std::string, std::size_t> by_uuid;
  for (std::size_t i = 0; i < group.members.size(); ++i) {
    GroupMember& member = group.members[i];
    if (!member.problem.empty() || by_uuid.emplace(member.uuid, i).second) continue;
    member.problem =
        "two physical volumes of the volume group have the UUID " + uuid_with_hyphens(member.uuid);
  }
  std::vector<const Candidate*> chosen(group.members.size(), nullptr);
  for (const Candidate& one : candidates) {
    const auto found = by_uuid.find(one.volume->uuid);
    if (found == by_uuid.end()) {
      // A member without metadata of its own never claimed to belong to this group.
      if (one.newest != nullptr) {
        const std::string reason = called(one) + " no longer belongs to volume group " +
                                   group.name + ": its metadata has seqno " +
                                   std::to_string(one.newest->summary.seqno) + ", the newest is " +
                                   std::to_string(group.seqno);
        assembly.reports.push_back(
            {one.index, {Trouble::note, printable(reason)}, is_stale(one, group)});
      }
      continue;
    }
    if (one.newest == nullptr) assembly.adopted.push_back(one.index);
    const Candidate*& place = chosen[found->second];
    if (place != nullptr) {
      const bool replace = better(one, *place, group.members[found->second]);
      const Candidate& used = replace ? one : *place;
      const Candidate& unused = replace ? *place : one;
      const std::string reason = "physical volume " + uuid_with_hyphens(one.volume->uuid) +
                                 " is here more than once: " + used.member->stem + " is used, " +
                                 unused.member->stem + " is not";
      assembly.reports.push_back(
          {unused.index, {Trouble::note, printable(reason)}, is_stale(unused, group)});
      place = &used;
    } else {
      place = &one;
    }
  }
  for (std::size_t i = 0; i < group.members.size(); ++i) {
    Carrier carrier;
    if (chosen[i] != nullptr) {
      carrier.device = chosen[i]->member->device;
      carrier.member = chosen[i]->index;
      describe_carrier(*chosen[i], group.members[i], group, assembly.reports);
    } else {
      carrier.missing = "physical volume " + name_member(group.members[i]) + " is missing";
    }
    assembly.carriers.push_back(std::move(carrier));
  }
  report_missing(assembly, assembly.troubles);
  note_peculiarities(group, assembly.troubles);
  return assembly;
}

Trouble explain_without_group(std::span<const Member> members) {
  Troubles troubles;
  for (const Candidate& one : candidates_of(members)) {
    const PhysicalVolume& volume = *one.volume;
    if (const std::string damage = volume.damage(); !damage.empty()) {
      troubles.add(Trouble::damaged,
                   called(one) + ": " + damage +
                       "; other physical volumes of its volume group may hold a good copy: "
                       "name them as sources, too");
    } else if (volume.in_use) {
      troubles.add(Trouble::missing,
                   called(one) +
                       " holds no metadata: its volume group is described on other physical "
                       "volumes; name them as sources, too");
    } else {
      troubles.add(Trouble::note, called(one) + " is in no volume group");
    }
  }
  return troubles.summary().value_or(Trouble{Trouble::note, "no physical volume"});
}

}  // namespace peelfs::lvm
