// The links of a catalogue: by-uuid, by-label, by-partuuid, by-partlabel and by-path.
#include <algorithm>
#include <set>

#include "peel/catalog.h"
#include "peel/names.h"
#include "peelfs/error.h"

namespace peelfs {

namespace {

bool descends_from(const Tree& tree, const Node& node, std::uint64_t ancestor) {
  std::vector<std::uint64_t> pending(node.parents);
  std::set<std::uint64_t> seen;
  while (!pending.empty()) {
    const std::uint64_t id = pending.back();
    pending.pop_back();
    if (id == ancestor) return true;
    if (!seen.insert(id).second) continue;
    const auto& parents = tree.at(id).parents;
    pending.insert(pending.end(), parents.begin(), parents.end());
  }
  return false;
}

bool is_in_snapshot(const Tree& tree, const Node& node) {
  const Node* current = &node;
  while (current->kind != "snapshot" && !current->parents.empty()) {
    current = &tree.at(current->parents.front());
  }
  return current->kind == "snapshot";
}

/// The one of several carriers of a label or UUID that it belongs to: the one made of all the
/// others (an array of its members), or the only one that is no snapshot. Null: it cannot be told.
const Node* topmost(const Tree& tree, std::vector<const Node*> carriers) {
  if (carriers.size() > 1) {
    const bool live = std::any_of(carriers.begin(), carriers.end(),
                                  [&](const Node* node) { return !is_in_snapshot(tree, *node); });
    if (live) {
      std::erase_if(carriers, [&](const Node* node) { return is_in_snapshot(tree, *node); });
    }
  }
  for (const Node* candidate : carriers) {
    const bool above_all = std::all_of(carriers.begin(), carriers.end(), [&](const Node* other) {
      return other == candidate || descends_from(tree, *candidate, other->id);
    });
    if (above_all) return candidate;
  }
  return nullptr;
}

std::string up_from(const std::string& directory) {
  std::string up = "../";
  for (const char c : directory) {
    if (c == '/') up += "../";
  }
  return up;
}

}  // namespace

void Catalog::add_links() {
  std::map<std::pair<std::string, std::string>, std::vector<const Node*>> carriers;
  const auto offer = [&](const char* directory, const std::string& text, const Node* node) {
    if (!text.empty()) carriers[{directory, udev_escape(text)}].push_back(node);
  };
  for (const Entry& entry : devices_) {
    const Node* node = entry.node.get();
    // As udev: a member of something has no link of its own.
    const std::string& usage = node->identity.usage;
    if (usage == "filesystem" || usage == "crypto" || usage == "other") {
      offer("by-uuid", node->identity.uuid, node);
      offer("by-label", node->identity.label, node);
    }
    offer("by-partuuid", node->partuuid, node);
    offer("by-partlabel", node->partlabel, node);
  }
  for (const auto& [link, nodes] : carriers) {
    const auto& [directory, name] = link;
    if (const Node* node = topmost(*tree_, nodes)) {
      links_.push_back({directory, name, up_from(directory) + name_of(node->id)});
      continue;
    }
    std::string remark = "no link " + directory + "/" + name + ": carried by";
    const std::size_t shown = std::min<std::size_t>(nodes.size(), 5);
    for (std::size_t i = 0; i < shown; ++i) {
      remark += i == 0 ? " " : ", ";
      remark += name_of(nodes[i]->id);
    }
    if (shown < nodes.size()) remark += " and " + std::to_string(nodes.size() - shown) + " more";
    remarks_.push_back(printable(remark));
  }
}

std::string Catalog::place_of(const Node& node, const std::string& above, bool alone) {
  if (node.path.empty()) return above;
  std::string place = above;
  for (const std::string& component : node.path) place += "/" + safe_file_name(component);
  const auto take = [&](const std::string& wanted) {
    const auto [at, fresh] = given_places_.emplace(wanted, node.id);
    if (!fresh && at->second != node.id) return false;
    places_.insert_or_assign(node.id, wanted);
    return true;
  };
  if (const auto former = places_.find(node.id);
      former != places_.end() && former->second.starts_with(above + "/")) {
    return former->second;
  }
  // A hidden container stands where its disk would.
  const Node& named =
      node.hidden && !node.children.empty() ? tree_->at(node.children.front()) : node;
  const std::string& name = name_of(named.id);
  const bool plain = name == safe_file_name(named.name);
  if ((alone || plain) && take(place)) return place;
  const auto number = numbers_.find(named.id);
  std::string other =
      place + "~" + (number != numbers_.end() ? std::to_string(number->second) : name);
  if (node.parents.empty()) other = above + "/" + name;
  while (!take(other)) other += "~" + name;
  return other;
}

void Catalog::add_paths() {
  // A device with others inside is a directory, in which `device` is the device itself (and `file`
  // the image file that it was unpacked from); one with nothing inside is a link.
  std::map<std::pair<std::uint64_t, std::vector<std::string>>, unsigned> wanted;
  const auto want = [](const Node& node) {
    return std::pair(node.parents.empty() ? 0 : node.parents.front(), node.path);
  };
  for (const auto& [id, node] : tree_->nodes) ++wanted[want(*node)];
  std::map<std::uint64_t, std::string> directories;
  std::vector<std::uint64_t> pending(tree_->roots.rbegin(), tree_->roots.rend());
  while (!pending.empty()) {
    const Node& node = tree_->at(pending.back());
    pending.pop_back();
    if (directories.contains(node.id)) continue;
    // It stands below its first parent, and comes again when that one has its place.
    if (!node.parents.empty() && !directories.contains(node.parents.front())) continue;
    const std::string above =
        node.parents.empty() ? "by-path" : directories.at(node.parents.front());
    const std::string place = place_of(node, above, wanted.at(want(node)) == 1);
    directories.emplace(node.id, place);
    pending.insert(pending.end(), node.children.rbegin(), node.children.rend());
    if (node.hidden) continue;
    const bool directory = !node.children.empty() || node.path.empty();
    const std::size_t slash = place.rfind('/');
    Link link = directory ? Link{place, node.kind == "file" ? "file" : "device", ""}
                          : Link{place.substr(0, slash), place.substr(slash + 1), ""};
    link.target = up_from(link.directory) + name_of(node.id);
    links_.push_back(std::move(link));
  }
}

}  // namespace peelfs
