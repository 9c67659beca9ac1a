#include "tree/catalog.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <set>

#include "tree/names.h"

namespace peelfs {

namespace {

/// Names in the root of a mount that are no devices.
const std::set<std::string, std::less<>> reserved{".peelfs",     "by-uuid",      "by-label",
                                                  "by-partuuid", "by-partlabel", "by-path"};

/// The nodes of a tree, parents before children.
std::vector<const Node*> in_order(const Tree& tree) {
  std::vector<const Node*> order;
  std::set<std::uint64_t> seen;
  std::deque<std::uint64_t> pending(tree.roots.begin(), tree.roots.end());
  while (!pending.empty()) {
    const std::uint64_t id = pending.front();
    pending.pop_front();
    if (!seen.insert(id).second) continue;
    order.push_back(&tree.at(id));
    const auto& children = order.back()->children;
    pending.insert(pending.end(), children.begin(), children.end());
  }
  return order;
}

/// Ways of saying which of several devices with one name is meant, from short to long.
class Qualifier {
 public:
  explicit Qualifier(const Tree& tree) : tree_(tree) {}
  static constexpr int levels = 4;

  std::string prefix(const Node& node, int level) const {
    std::string source = source_of(node);
    std::string image = image_of(node);
    switch (level) {
      case 0:
        return source;
      case 1:
        return image;
      case 2:
        return image.empty() ? source : source + "." + image;
      default:
        return node.parents.empty() ? source : source + "." + tree_.at(node.parents.front()).stem;
    }
  }

 private:
  std::string source_of(const Node& node) const {
    const Node* current = &node;
    while (!current->parents.empty()) current = &tree_.at(current->parents.front());
    if (current != &node) return current->stem;
    // Two sources of one name differ in their directories.
    const std::string& path = node.source_path;
    const std::size_t end = path.rfind('/');
    if (end == std::string::npos || end == 0) return "";
    const std::size_t begin = path.rfind('/', end - 1);
    return path.substr(begin == std::string::npos ? 0 : begin + 1,
                       end - (begin == std::string::npos ? 0 : begin + 1));
  }

  /// The innermost image file around it.
  std::string image_of(const Node& node) const {
    const Node* current = &node;
    while (!current->parents.empty()) {
      current = &tree_.at(current->parents.front());
      if (current->kind == "file") return current->stem;
    }
    return "";
  }

  const Tree& tree_;
};

}  // namespace

Catalog::Catalog(std::shared_ptr<const Tree> tree, const Catalog* previous)
    : tree_(std::move(tree)) {
  assign_names(previous);
  add_links();
  add_paths();
}

void Catalog::assign_names(const Catalog* previous) {
  std::set<std::string, std::less<>> taken(reserved);
  const auto give = [&](const Node& node, std::string name) {
    // A name may not be reused even by a device that came when the first one is gone.
    taken.insert(name);
    by_name_.emplace(name, node.id);
    names_.emplace(node.id, std::move(name));
  };
  if (previous != nullptr) {
    for (const auto& [name, id] : previous->by_name_) taken.insert(name);
  }
  std::map<std::string, std::vector<const Node*>> wanting;
  for (const Node* node : in_order(*tree_)) {
    if (node->hidden) continue;
    if (previous != nullptr && previous->names_.contains(node->id)) {
      give(*node, previous->names_.at(node->id));
      continue;
    }
    wanting[safe_file_name(node->name)].push_back(node);
  }
  const Qualifier qualifier(*tree_);
  for (auto& [name, nodes] : wanting) {
    // The person named sources; what was found inside of others makes way.
    const auto is_source = [&](const Node* node) {
      return node->parents.empty() || tree_->at(node->parents.front()).hidden;
    };
    if (!taken.contains(name) && std::count_if(nodes.begin(), nodes.end(), is_source) == 1) {
      const auto source = std::find_if(nodes.begin(), nodes.end(), is_source);
      give(**source, name);
      nodes.erase(source);
    }
    if (nodes.size() == 1 && !taken.contains(name)) {
      give(*nodes.front(), name);
      continue;
    }
    std::vector<std::string> chosen;
    for (int level = 0; level < Qualifier::levels; ++level) {
      std::set<std::string> distinct;
      chosen.clear();
      for (const Node* node : nodes) {
        const std::string prefix = qualifier.prefix(*node, level);
        chosen.push_back(prefix.empty() ? "" : safe_file_name(prefix + "." + node->name));
        if (!chosen.back().empty() && !taken.contains(chosen.back()))
          distinct.insert(chosen.back());
      }
      if (distinct.size() == nodes.size()) break;
      chosen.clear();
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      std::string unique = chosen.empty() ? name : chosen[i];
      for (unsigned number = 2; taken.contains(unique); ++number) {
        unique = safe_file_name(nodes[i]->name.substr(0, 200) + "~" + std::to_string(number));
      }
      give(*nodes[i], unique);
    }
  }
  for (const auto& [name, id] : by_name_) devices_.push_back({name, tree_->nodes.at(id)});
}

const std::string& Catalog::name_of(std::uint64_t id) const {
  static const std::string none;
  const auto found = names_.find(id);
  return found == names_.end() ? none : found->second;
}

const Catalog::Entry* Catalog::find(std::string_view what) const {
  const auto entry_of = [this](std::string_view name) -> const Entry* {
    const auto at =
        std::lower_bound(devices_.begin(), devices_.end(), name,
                         [](const Entry& entry, std::string_view n) { return entry.name < n; });
    return at != devices_.end() && at->name == name ? &*at : nullptr;
  };
  if (const Entry* entry = entry_of(what)) return entry;
  const auto linked = [&](std::string_view directory, std::string_view name) -> const Entry* {
    for (const Link& link : links_) {
      if (link.directory != directory || link.name != name) continue;
      return entry_of(std::string_view(link.target).substr(link.target.rfind('/') + 1));
    }
    return nullptr;
  };
  if (const std::size_t slash = what.rfind('/'); slash != std::string_view::npos) {
    const Entry* entry = linked(what.substr(0, slash), what.substr(slash + 1));
    return entry != nullptr ? entry : linked(what, "device");
  }
  for (const auto& [tag, directory] :
       {std::pair<std::string_view, std::string_view>{"UUID=", "by-uuid"},
        {"LABEL=", "by-label"},
        {"PARTUUID=", "by-partuuid"},
        {"PARTLABEL=", "by-partlabel"}}) {
    if (what.starts_with(tag)) return linked(directory, udev_escape(what.substr(tag.size())));
  }
  // A UUID of anything, also of what has no link (a physical volume), if only one device carries
  // it.
  const Entry* match = nullptr;
  for (const Entry& entry : devices_) {
    if (what.empty() || (entry.node->identity.uuid != what && entry.node->partuuid != what))
      continue;
    if (match != nullptr) return nullptr;
    match = &entry;
  }
  return match;
}

}  // namespace peelfs
