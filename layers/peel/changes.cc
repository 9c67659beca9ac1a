#include "peel/changes.h"

#include <algorithm>
#include <optional>
#include <set>

#include "fs/names.h"
#include "peelfs/error.h"

namespace peelfs {
namespace {

std::vector<ByteRange> ranges_of(const overlay::Comparison& comparison) {
  std::vector<ByteRange> ranges;
  for (const overlay::ChangedRun& run : comparison.runs) ranges.push_back({run.offset, run.length});
  return ranges;
}

fs::Side side_of(const Node& node) {
  return {node.filesystem.get(), node.device->size()};
}

/// Why the filesystem on a device cannot be asked; nullopt: it can, or there is none.
std::optional<std::string> why_nameless(const Node& node) {
  const bool claimed = !node.layer.empty() && node.identity.usage == "filesystem";
  if (node.filesystem != nullptr || !claimed || !node.trouble) return std::nullopt;
  return node.trouble->reason;
}

std::vector<NamedRange> name_changes(const Node& before, const Node& after,
                                     const overlay::Comparison& comparison) {
  return fs::name_changes(side_of(before), side_of(after), ranges_of(comparison));
}

class Finder {
 public:
  Finder(const Catalog& before, const Catalog& after, std::string only, const JobProgress& progress)
      : before_(before), after_(after), only_(std::move(only)), progress_(progress) {}

  std::vector<DeviceChange> run() {
    visit(after_.tree().roots, 0);
    for (const Catalog::Entry& entry : before_.devices()) {
      if (seen_.contains(entry.name) || (!only_.empty() && entry.name != only_)) continue;
      if (lies_in_locked(before_, *entry.node, after_)) continue;
      DeviceChange gone = start(entry.name, *entry.node, 0);
      gone.fate = DeviceChange::Fate::vanished;
      result_.push_back(std::move(gone));
    }
    return std::move(result_);
  }

 private:
  static DeviceChange start(const std::string& name, const Node& node, unsigned depth) {
    DeviceChange change;
    change.name = name;
    change.kind = node.kind;
    change.size = change.old_size = node.device->size();
    change.depth = depth;
    return change;
  }

  static bool is_locked(const Node& node) {
    return node.trouble && node.trouble->state == Trouble::locked;
  }

  /// Whether both are one encrypted device, and none of them was overwritten with another one.
  static bool same_lock(const Node& one, const Node& other) {
    return one.identity.type == other.identity.type && one.identity.uuid == other.identity.uuid;
  }

  /// Whether a device of one side lies in a device that is locked on the other side.
  static bool lies_in_locked(const Catalog& own, const Node& node, const Catalog& other) {
    for (const std::uint64_t id : node.parents) {
      const Node& parent = own.tree().at(id);
      const std::string& name = own.name_of(id);
      const Catalog::Entry* const there = name.empty() ? nullptr : find(other, name);
      if (there != nullptr ? is_locked(*there->node) && same_lock(parent, *there->node)
                           : lies_in_locked(own, parent, other)) {
        return true;
      }
    }
    return false;
  }

  static const Catalog::Entry* find(const Catalog& catalog, const std::string& name) {
    const auto devices = catalog.devices();
    const auto found = std::lower_bound(
        devices.begin(), devices.end(), name,
        [](const Catalog::Entry& entry, const std::string& wanted) { return entry.name < wanted; });
    return found != devices.end() && found->name == name ? &*found : nullptr;
  }

  /// A passphrase that was changed in the overlay opens one side only.
  static void note_key(const Node& before, const Node& after, DeviceChange& change) {
    if (!same_lock(before, after)) return;
    if (is_locked(before) && is_locked(after)) {
      change.remark = "locked: what is in it cannot be compared without its key";
    } else if (is_locked(before) && !after.children.empty()) {
      change.remark =
          "its key was changed: what is in it opens with the new key, and cannot be compared "
          "without the old one, too; give both";
      change.needs_key = true;
    } else if (is_locked(after) && !before.children.empty()) {
      change.remark =
          "its key was changed: what was in it opens with the old key, and cannot be compared "
          "without the new one, too; give both";
      change.needs_key = true;
    }
  }

  void visit(const std::vector<std::uint64_t>& ids, unsigned depth) {
    for (const std::uint64_t id : ids) {
      const Node& node = after_.tree().at(id);
      const std::string& name = after_.name_of(id);
      if (name.empty()) {
        visit(node.children, depth);
        continue;
      }
      if (!seen_.insert(name).second) continue;  // below another of its members already
      if (find(before_, name) == nullptr && lies_in_locked(after_, node, before_)) {
        if (!only_.empty() && name == only_) {
          throw Error(Fault::locked, name + " cannot be compared: without the overlay it is locked")
              .advice("give the key that opens it there, too");
        }
        visit(node.children, depth);
        continue;
      }
      if (only_.empty() || name == only_) result_.push_back(compare(name, node, depth));
      visit(node.children, depth + 1);
    }
  }

  DeviceChange compare(const std::string& name, const Node& after, unsigned depth) {
    DeviceChange change = start(name, after, depth);
    const Catalog::Entry* const old = find(before_, name);
    const Node* const before = old == nullptr ? nullptr : old->node.get();
    if (before == nullptr) {
      change.fate = DeviceChange::Fate::appeared;
      return change;
    }
    change.old_size = before->device->size();
    change.moved = moved_between(layout_of(before_, *before), layout_of(after_, after));
    note_key(*before, after, change);
    change.comparison =
        overlay::compare_devices(*before->device, *after.device, [&](std::uint64_t done) {
          if (progress_) progress_({"comparing", name, done, after.device->size()});
        });
    if (change.comparison.changed == 0) return change;
    if (const auto why = why_nameless(after)) {
      change.remark = *why;
      return change;
    }
    try {
      change.named = name_changes(*before, after, change.comparison);
    } catch (const Error& error) {
      change.remark = error.what();
    }
    return change;
  }

  const Catalog& before_;
  const Catalog& after_;
  const std::string only_;
  const JobProgress& progress_;
  std::set<std::string> seen_;
  std::vector<DeviceChange> result_;
};

}  // namespace

std::vector<DeviceChange> find_changes(const Peeling& before, const Peeling& after,
                                       const std::string& only, const JobProgress& progress) {
  const auto old_catalog = before.catalog();
  const auto new_catalog = after.catalog();
  return Finder(*old_catalog, *new_catalog, only, progress).run();
}

}  // namespace peelfs
