#include "peel/catalog.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <functional>
#include <set>

#include "peel/names.h"

namespace peelfs {

namespace {

/// Names in the root of a mount that are no devices.
const std::set<std::string, std::less<>> kReserved{".peelfs",     "by-uuid",      "by-label",
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
  static constexpr int kLevels = 4;

  /// @return empty: there is none. Never one that would hide the name in a listing.
  std::string prefix(const Node& node, int level) const { return unhidden(qualified(node, level)); }

 private:
  static std::string unhidden(std::string text) {
    return text.erase(0, std::min(text.find_first_not_of('.'), text.size()));
  }

  std::string qualified(const Node& node, int level) const {
    std::string source = source_of(node);
    std::string image = image_of(node);
    switch (level) {
      case 0:
        return source;
      case 1:
        return image;
      case 2:
        return image.empty() || source.empty() ? source : source + "." + image;
      default:
        if (node.parents.empty() || source.empty()) return source;
        return source + "." + tree_.at(node.parents.front()).stem;
    }
  }

  std::string source_of(const Node& node) const {
    const Node* current = &node;
    while (!current->parents.empty()) current = &tree_.at(current->parents.front());
    const bool unpacked = !node.parents.empty() && node.parents.front() == current->id;
    if (current != &node && !(unpacked && current->hidden)) return current->stem;
    // Two sources of one name differ in their directories.
    const auto path = std::filesystem::path(current->source_path).lexically_normal();
    return unhidden(path.parent_path().filename().string());
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
  if (previous != nullptr) {
    given_names_ = previous->given_names_;
    former_names_ = previous->former_names_;
    numbers_ = previous->numbers_;
    given_places_ = previous->given_places_;
    places_ = previous->places_;
  }
  assign_names();
  add_links();
  add_paths();
}

void Catalog::give(const Node& node, std::string name) {
  given_names_.emplace(name, node.id);
  by_name_.emplace(name, node.id);
  former_names_.insert_or_assign(node.id, name);
  names_.emplace(node.id, std::move(name));
}

bool Catalog::is_taken(const std::string& name) const {
  return kReserved.contains(name) || given_names_.contains(name);
}

void Catalog::number(const Node& node, const std::string& name) {
  std::string unique = name;
  for (unsigned number = 2; is_taken(unique); ++number) {
    unique = safe_file_name(node.name.substr(0, 200) + "~" + std::to_string(number));
    numbers_.insert_or_assign(node.id, number);
  }
  give(node, std::move(unique));
}

void Catalog::assign_names() {
  // The person chose the names of sources, so devices that were found inside of others give way to
  // them.
  const auto is_source = [this](const Node* node) {
    return node->parents.empty() || tree_->at(node->parents.front()).hidden;
  };
  std::map<std::string, std::vector<const Node*>> wanting, sources;
  for (const Node* node : in_order(*tree_)) {
    if (node->hidden) continue;
    const std::string name = safe_file_name(node->name);
    if (is_source(node)) sources[name].push_back(node);
    // A device that was away comes back with the name that it had.
    if (const auto former = former_names_.find(node->id); former != former_names_.end()) {
      give(*node, std::string(former->second));
      continue;
    }
    wanting[name].push_back(node);
  }
  for (const auto& [name, nodes] : sources) {
    if (nodes.size() < 2) continue;
    for (const Node* node : nodes) doubled_.insert(node->id);
  }
  const Qualifier qualifier(*tree_);
  for (auto& [name, nodes] : wanting) {
    if (!is_taken(name) && std::count_if(nodes.begin(), nodes.end(), is_source) == 1) {
      const auto source = std::find_if(nodes.begin(), nodes.end(), is_source);
      give(**source, name);
      nodes.erase(source);
    }
    if (nodes.size() == 1 && !is_taken(name)) {
      give(*nodes.front(), name);
      continue;
    }
    std::vector<std::string> chosen;
    for (int level = 0; level < Qualifier::kLevels; ++level) {
      std::set<std::string> distinct;
      chosen.clear();
      for (const Node* node : nodes) {
        const std::string prefix = qualifier.prefix(*node, level);
        chosen.push_back(prefix.empty() ? "" : safe_file_name(prefix + "." + node->name));
        if (!chosen.back().empty() && !is_taken(chosen.back())) distinct.insert(chosen.back());
      }
      if (distinct.size() == nodes.size()) break;
      chosen.clear();
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (chosen.empty()) {
        number(*nodes[i], name);
      } else {
        give(*nodes[i], std::move(chosen[i]));
      }
    }
  }
  for (const auto& [name, id] : by_name_) devices_.push_back({name, tree_->nodes.at(id)});
}

const std::string& Catalog::source_of(std::uint64_t id) const {
  const Node* node = &tree_->at(id);
  while (!node->parents.empty()) node = &tree_->at(node->parents.front());
  return node->source_path;
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
    if (what.empty() || (entry.node->identity.uuid != what && entry.node->partuuid != what)) {
      continue;
    }
    if (match != nullptr) return nullptr;
    match = &entry;
  }
  return match;
}

}  // namespace peelfs
