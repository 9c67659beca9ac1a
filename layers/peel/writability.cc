#include "peel/writability.h"

#include <algorithm>
#include <array>

namespace peelfs {

namespace {

using Ids = std::set<std::uint64_t>;

/// Layers that translate no bytes: their devices are plain ranges of the device below.
constexpr std::array<std::string_view, 3> kPlainLayers{"gpt", "mbr", "ext"};

bool translates(const Node& node) {
  return !node.layer.empty() && !node.children.empty() &&
         std::find(kPlainLayers.begin(), kPlainLayers.end(), node.layer) == kPlainLayers.end();
}

/// Where a device lies that is one piece of another.
struct Place {
  const BlockDevice* device = nullptr;  ///< null: it is no such device
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

Place place_of(const Node& node) {
  const std::uint64_t size = node.device->size();
  try {
    if (size == 0) return {};
    const Extent whole = node.device->map(0, size);
    if (whole.kind != ExtentKind::lower || whole.length != size) return {};
    return {whole.device, whole.offset, whole.offset + size};
  } catch (const std::exception&) {
    return {};  // unreadable: nothing can be written through it
  }
}

bool share_bytes(const Node& a, const Node& b) {
  // Only the group's layer knows which leg belongs to which device.
  if (a.component != b.component) return true;
  const Place left = place_of(a);
  const Place right = place_of(b);
  return left.device != nullptr && left.device == right.device && left.begin < right.end &&
         right.begin < left.end;
}

void add_below(const Tree& tree, std::uint64_t id, Ids& found) {
  for (const std::uint64_t child : tree.at(id).children) {
    if (found.insert(child).second) add_below(tree, child, found);
  }
}

void add_above(const Tree& tree, std::uint64_t id, Ids& found) {
  for (const std::uint64_t parent : tree.at(id).parents) {
    if (found.insert(parent).second) add_above(tree, parent, found);
  }
}

/// A group is opened again as a whole: adds what lies on any member of the groups that one of
/// `seeds` or of `found` belongs to, and of the groups that these are members of in turn.
void add_groups(const Tree& tree, const Ids& seeds, Ids& found) {
  Ids done;
  for (bool more = true; more;) {
    Ids groups;
    for (const Ids& ids : {seeds, found}) {
      for (const std::uint64_t id : ids) groups.insert(tree.at(id).group);
    }
    groups.insert(0);
    more = groups != done;
    for (const auto& [id, node] : tree.nodes) {
      if (node->group != 0 && groups.contains(node->group)) add_below(tree, id, found);
    }
    done = std::move(groups);
  }
}

/// Devices beside `id` that share bytes with it.
Ids beside(const Tree& tree, std::uint64_t id) {
  Ids found;
  const Node& node = tree.at(id);
  for (const std::uint64_t parent : node.parents) {
    for (const std::uint64_t child : tree.at(parent).children) {
      if (child != id && share_bytes(node, tree.at(child))) found.insert(child);
    }
  }
  return found;
}

/// Why a device cannot be written, by the layer that knows; empty: none says so.
std::string unwritable(const Catalog& catalog, const Node& node) {
  if (node.device->writable()) return {};
  if (std::string reason = node.device->read_only_reason(); !reason.empty()) return reason;
  for (const std::uint64_t id : node.parents) {
    const std::string reason = unwritable(catalog, catalog.tree().at(id));
    if (!reason.empty()) return catalog.name_of(id) + ": " + reason;
  }
  return {};
}

}  // namespace

std::optional<std::string> why_read_only(const Catalog& catalog, const Catalog::Entry& entry,
                                         const WritePolicy& policy) {
  const Node& node = *entry.node;
  if (!policy.writable) return "the mount is read-only";
  if (!node.device->writable()) {
    if (node.kind == "snapshot") return "a snapshot stays what it was";
    const std::string reason = unwritable(catalog, node);
    return reason.empty() ? "a layer that it lies on cannot be written" : reason;
  }
  const bool named =
      std::any_of(policy.containers.begin(), policy.containers.end(), [&](const std::string& what) {
        const Catalog::Entry* found = catalog.find(what);
        return found != nullptr && found->node->id == node.id;
      });
  if (named) return std::nullopt;
  const std::string unless = "; to write it all the same, mount with -o writable=" + entry.name;
  if (!node.part_of.empty()) {
    return "it is a part of " + printable(node.part_of) + ", which is to be written" + unless;
  }
  if (node.component) return "it is a part of another device, which is to be written" + unless;
  if (translates(node)) {
    return "what is in it is shown: write " + catalog.name_of(node.children.front()) + unless;
  }
  return std::nullopt;
}

Ids overlapping(const Tree& tree, std::uint64_t id) {
  Ids found;
  if (!tree.nodes.contains(id)) return found;
  Ids line{id};
  add_above(tree, id, line);
  found = line;
  add_below(tree, id, found);
  for (const std::uint64_t one : line) {
    for (const std::uint64_t neighbour : beside(tree, one)) {
      if (found.insert(neighbour).second) add_below(tree, neighbour, found);
    }
  }
  found.erase(id);
  return found;
}

Ids lies_on(const Tree& tree, std::uint64_t id) {
  Ids found;
  if (tree.nodes.contains(id)) add_above(tree, id, found);
  return found;
}

std::vector<std::uint64_t> looked_at_after(const Tree& tree, std::uint64_t id) {
  if (!tree.nodes.contains(id)) return {};
  const Node& node = tree.at(id);
  const Ids neighbours = beside(tree, id);
  // An extended partition holds a part of the table.
  bool in_table = node.component && node.kind == "part";
  std::vector<std::uint64_t> ids{id};
  for (const std::uint64_t neighbour : neighbours) {
    const Node& other = tree.at(neighbour);
    if (other.component) continue;
    if (node.component) ids.push_back(neighbour);  // what lies on a mirror that this is a leg of
    in_table = in_table || !node.component;
  }
  return in_table ? node.parents : ids;
}

Ids remade_after(const Tree& tree, std::uint64_t id) {
  Ids found;
  const std::vector<std::uint64_t> all = looked_at_after(tree, id);
  for (const std::uint64_t looked : all) {
    Ids below;
    add_below(tree, looked, below);
    // The group that a member belongs to is opened again as a whole.
    Ids members{looked};
    for (const std::uint64_t child : tree.at(looked).children) {
      members.insert(tree.at(child).parents.begin(), tree.at(child).parents.end());
    }
    for (const std::uint64_t member : members) add_below(tree, member, below);
    found.merge(below);
  }
  add_groups(tree, Ids(all.begin(), all.end()), found);
  return found;
}

Ids in_the_way(const Tree& tree, std::uint64_t id) {
  Ids found = overlapping(tree, id);
  found.merge(remade_after(tree, id));
  found.erase(id);
  return found;
}

Ids remade_by_unlock(const Tree& tree, std::uint64_t id) {
  if (!tree.nodes.contains(id)) return {};
  Ids seeds{id};
  for (const auto& [member, node] : tree.nodes) {
    if (node->group_incomplete) seeds.insert(member);
  }
  Ids found;
  add_below(tree, id, found);
  add_groups(tree, seeds, found);
  return found;
}

}  // namespace peelfs
