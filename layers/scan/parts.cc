// Files that hold bytes of other images: backing files, external data files, segments. One that was
// found in a directory or in a filesystem is no disk of its own, and is not looked into. One that
// the person named is.
#include <algorithm>

#include "scan/state.h"

namespace peelfs {

namespace {

/// Of one settling. Images that have one another as parts settle in two; the limit is for bytes
/// that change meanwhile.
constexpr unsigned kMostRounds = 16;

struct Owner {
  const Item* item = nullptr;
  const Part* part = nullptr;
};

}  // namespace

std::set<std::uint64_t> Scanner::State::line_of(const Item& item) const {
  std::set<std::uint64_t> line{item.node.id};
  std::vector<std::uint64_t> pending(item.node.parents);
  while (!pending.empty()) {
    const std::uint64_t id = pending.back();
    pending.pop_back();
    if (!line.insert(id).second) continue;  // a group's child has several parents
    const auto& parents = graph.at(id).node.parents;
    pending.insert(pending.end(), parents.begin(), parents.end());
  }
  return line;
}

void Scanner::State::take_out(Item& item, const Item& owner, const std::string& role) {
  const std::uint64_t id = item.node.id;
  drop_children(id);
  forget(id);
  item.node.part_of = owner.node.name;
  item.part = Trouble{Trouble::note, "it is the " + role + " of " + printable(owner.node.name) +
                                         "; name it as a source to see what is in it"};
  item.layer = nullptr;
  item.claim.reset();
  item.ambiguous.reset();
  item.node.identity = {};
  item.node.layer.clear();
  item.node.filesystem.reset();
  item.node.hidden = false;
  item.node.group = 0;
  item.node.group_incomplete = false;
  item.node.membership.reset();
  if (!item.file_name.empty()) {
    item.node.kind = "file";
    item.node.name = item.file_name;
  }
  item.reset_trouble();
}

bool Scanner::State::settle_parts() {
  std::multimap<Origin, Owner> owners;
  bool any = false;
  for (const auto& [id, item] : graph.items()) {
    for (const Part& part : item.node.parts) {
      if (part.origin != Origin{}) owners.emplace(part.origin, Owner{&item, &part});
    }
    any = any || item.part.has_value();
  }
  if (owners.empty() && !any) return false;
  if (is_cancelled()) return false;
  struct Change {
    std::uint64_t id;
    std::uint64_t owner;  ///< 0: it is no part any more
    std::string role;
  };
  std::vector<Change> changes;
  std::set<std::uint64_t> parts;  // of images that contradict each other, the first is a part
  for (auto& [id, item] : graph.items()) {
    // A directive names it, and so does the person.
    if (!item.may_be_part || item.directive != nullptr) continue;
    if (!item.origin && caught([&one = item] { one.origin = origin_of(*one.node.device); })) {
      continue;
    }
    const auto [begin, end] = owners.equal_range(*item.origin);
    const auto owner = std::find_if(begin, end, [&, id = id](const auto& entry) {
      const std::set<std::uint64_t> line = line_of(*entry.second.item);
      return !line.contains(id) &&
             std::ranges::none_of(line, [&](std::uint64_t other) { return parts.contains(other); });
    });
    if (owner == end) {
      if (item.part) changes.push_back({id, 0, ""});
      continue;
    }
    // What was shown as a disk stays one: it may be in use, and be written.
    const auto before = shown->nodes.find(id);
    if (!item.part && before != shown->nodes.end() && before->second->part_of.empty()) continue;
    parts.insert(id);
    const Owner& whose = owner->second;
    if (item.part && item.node.part_of == whose.item->node.name) continue;
    changes.push_back({id, whose.item->node.id, whose.part->role});
  }
  if (changes.empty() || ++part_rounds > kMostRounds) return false;
  for (const Change& change : changes) {
    if (!graph.items().contains(change.id)) continue;
    Item& item = graph.at(change.id);
    if (change.owner == 0) {
      item.part.reset();
      item.node.part_of.clear();
      item.reset_trouble();
      queue.push_back(change.id);
    } else if (graph.items().contains(change.owner)) {
      take_out(item, graph.at(change.owner), change.role);
    }
  }
  return true;
}

}  // namespace peelfs
