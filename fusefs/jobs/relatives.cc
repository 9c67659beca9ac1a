#include "jobs/relatives.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "btrfs/members.h"
#include "peelfs/error.h"
#include "world/host_files.h"

#ifndef PEELFS_WITHOUT_EXT
#include "ext/journal_device.h"
#endif

namespace peelfs::jobs {
namespace {

/// The internal snapshots that a device lies in: devices of different ones never belong together,
/// whatever their UUIDs say.
std::set<std::string> moment_of(const Tree& tree, const Node& node) {
  std::set<std::string> moment;
  std::vector<std::uint64_t> above{node.id};
  std::set<std::uint64_t> seen;
  while (!above.empty()) {
    const Node& one = tree.at(above.back());
    above.pop_back();
    if (!seen.insert(one.id).second) continue;
    if (one.kind == "snapshot" && !one.path.empty()) moment.insert(one.path.back());
    above.insert(above.end(), one.parents.begin(), one.parents.end());
  }
  return moment;
}

/// The devices that a tool may take for relatives of this one, itself among them.
std::vector<const Catalog::Entry*> candidates(const Catalog& catalog, const Node& node) {
  const std::set<std::string> moment = moment_of(catalog.tree(), node);
  std::vector<const Catalog::Entry*> found;
  for (const Catalog::Entry& entry : catalog.devices()) {
    if (entry.node->id == node.id ||
        (!entry.node->component && moment_of(catalog.tree(), *entry.node) == moment)) {
      found.push_back(&entry);
    }
  }
  return found;
}

Error ambiguous(const std::string& what, const std::string& one, const std::string& other) {
  return Error(Fault::usage, "two devices claim to be " + what)
      .found(one + " and " + other)
      .advice("name only the sources that belong together");
}

void add_btrfs(const Catalog& catalog, const Catalog::Entry& entry, Relatives& to) {
  const auto own = btrfs::membership(*entry.node->device);
  if (!own || own->devices < 2) return;
  std::map<std::uint64_t, std::string> members{{own->device_id, entry.name}};
  for (const Catalog::Entry* const other : candidates(catalog, *entry.node)) {
    const auto theirs = btrfs::membership(*other->node->device);
    if (!theirs || theirs->uuid != own->uuid) continue;
    const auto [known, first] = members.emplace(theirs->device_id, other->name);
    if (first) to.devices.insert(other->node->id);
    if (first || known->second == other->name || known->second == entry.name) continue;
    throw ambiguous("the same member of the filesystem", known->second, other->name);
  }
  to.several = true;
  to.what = "is one of " + std::to_string(own->devices) + " devices of a btrfs filesystem";
  if (own->devices > members.size()) {
    const std::uint64_t missing = own->devices - members.size();
    to.missing = std::to_string(missing) + " of them " + (missing == 1 ? "is" : "are") +
                 " in none of the sources";
  }
}

#ifdef PEELFS_WITHOUT_EXT
void add_journal(const Catalog&, const Catalog::Entry& entry, Relatives& to) {
  // Whether it has a journal elsewhere cannot be told: it counts as if it had.
  if (!entry.node->identity.type.starts_with("ext")) return;
  to.several = true;
  to.what = "may have its journal on another device (this peelfs was built without the layer ext)";
}
#else
void add_journal(const Catalog& catalog, const Catalog::Entry& entry, Relatives& to) {
  const auto uuid = ext::external_journal(*entry.node->device);
  if (!uuid) return;
  std::string journal;
  for (const Catalog::Entry* const other : candidates(catalog, *entry.node)) {
    if (other->node->identity.uuid != *uuid || other->node->id == entry.node->id) continue;
    if (!journal.empty()) throw ambiguous("the journal of " + entry.name, journal, other->name);
    journal = other->name;
    to.devices.insert(other->node->id);
  }
  to.several = true;
  to.what = "has its journal on another device (UUID " + *uuid + ")";
  if (journal.empty()) to.missing = "that is in none of the sources";
}

#endif

/// Filesystems whose tools never look for another device, but for those that add_btrfs() and
/// add_journal() know.
bool lies_on_one_device(const Identity& identity) {
  constexpr std::array kTypes{"ext2", "ext3",  "ext4",    "btrfs",    "xfs",   "vfat",
                              "ntfs", "exfat", "iso9660", "squashfs", "erofs", "swap"};
  return std::find(kTypes.begin(), kTypes.end(), identity.type) != kTypes.end();
}

}  // namespace

Relatives relatives_of(const Catalog& catalog, const Catalog::Entry& entry) {
  Relatives relatives;
  relatives.devices.insert(entry.node->id);
  add_btrfs(catalog, entry, relatives);
  add_journal(catalog, entry, relatives);
  relatives.alone = !relatives.several && lies_on_one_device(entry.node->identity);
  return relatives;
}

std::vector<world::ListedDevice> listed_with(const Catalog& catalog, const Catalog::Entry& entry,
                                             const std::string& folder) {
  std::vector<world::ListedDevice> listed;
  for (const Catalog::Entry* const one : candidates(catalog, *entry.node)) {
    const Identity& identity = one->node->identity;
    listed.push_back({folder + "/" + one->name, identity.type, identity.uuid, identity.label});
  }
  return listed;
}

std::string visible_originals(const Catalog& catalog) {
  const std::vector<std::string> visible = world::visible_devices(world::opened_host_files());
  if (visible.empty()) return "";
  for (const Catalog::Entry& entry : catalog.devices()) {
    if (!entry.node->device->writable()) continue;
    std::string what;
    try {
      what = relatives_of(catalog, entry).what;
    } catch (const Error& error) {
      what = "belongs to a filesystem on several devices";
    }
    if (what.empty()) continue;
    return entry.name + " " + what + ", and the originals are visible as " + visible.front() +
           (visible.size() > 1 ? " and " + std::to_string(visible.size() - 1) + " more" : "") +
           ": a repair tool finds those by UUID and writes to them, which 'peelfs try' prevents";
  }
  return "";
}

}  // namespace peelfs::jobs
