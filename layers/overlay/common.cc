#include "overlay/common.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string>

#include "btrfs/members.h"
#include "peelfs/bytes.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::overlay {

namespace {

/// Sets of sources, each known by one of them.
class Sets {
 public:
  explicit Sets(std::size_t count) : above_(count) {
    std::iota(above_.begin(), above_.end(), std::size_t{0});
  }
  std::size_t find(std::size_t one) {
    while (above_[one] != one) one = above_[one] = above_[above_[one]];
    return one;
  }
  void unite(std::size_t one, std::size_t other) { above_[find(one)] = find(other); }

 private:
  std::vector<std::size_t> above_;
};

bool is_ext(const std::string& type) {
  return type == "ext2" || type == "ext3" || type == "ext4";
}

/// The UUID of an external journal that an ext filesystem has; empty: none.
std::string journal_of(const BlockDevice& device) {
  constexpr std::uint64_t kSuperOffset = 1024;
  constexpr std::uint32_t kHasJournal = 4;
  const Buffer bytes = read_up_to(device, kSuperOffset, 1024);
  const ByteReader super(bytes, "ext superblock");
  // s_feature_compat, s_journal_inum, s_journal_uuid
  if ((super.le32(0x5c) & kHasJournal) == 0 || super.le32(0xe0) != 0) return "";
  return uuid_text(super.bytes(0xd0, 16));
}

/// What the members of a thing that is not opened as a group have in common; empty: nothing.
std::string common_key(const Node& node) {
  const std::string& type = node.identity.type;
  try {
    if (const auto member = btrfs::membership(*node.device)) {
      return member->devices > 1 ? "btrfs " + member->uuid : "";
    }
    if (is_ext(type)) {
      const std::string journal = journal_of(*node.device);
      return journal.empty() ? "" : "jbd " + journal;
    }
  } catch (const Error&) {
    return "";  // what cannot be read cannot be written through, either
  }
  // What LVM calls so is the physical volume's own, and volume groups are opened.
  if (node.identity.uuid.empty() || type == "LVM2_member") return "";
  if (type == "jbd" || node.identity.usage == "raid") return type + " " + node.identity.uuid;
  // An external log has the UUID of its filesystem.
  if (type == "xfs_external_log" || type == "xfs") return "xfs " + node.identity.uuid;
  return "";
}

class Finder {
 public:
  explicit Finder(const Tree& tree) : tree_(tree), sets_(tree.roots.size()) {
    for (std::size_t i = 0; i < tree.roots.size(); ++i) places_[tree.roots[i]] = i;
  }

  std::vector<std::vector<std::size_t>> run() {
    std::map<std::string, std::vector<const Node*>> by_key;
    std::set<std::string> logs;
    for (const auto& [id, node] : tree_.nodes) {
      unite(node->parents);
      if (node->device == nullptr || node->kind == "snapshot") continue;
      if (node->instance != 0) {
        by_key["group " + std::to_string(node->instance)].push_back(node.get());
      }
      const std::string key = common_key(*node);
      if (key.empty()) continue;
      by_key[key].push_back(node.get());
      if (node->identity.type == "xfs_external_log") logs.insert(key);
    }
    for (const auto& [key, nodes] : by_key) {
      // Most have no log outside, and a copy of one shares only its UUID.
      if (key.starts_with("xfs ") && !logs.contains(key)) continue;
      std::vector<std::uint64_t> ids;
      for (const Node* const node : nodes) ids.push_back(node->id);
      unite(ids);
    }
    return result();
  }

 private:
  /// Any source that a node lies on: all of them are of one set by then, or will be.
  std::optional<std::size_t> source_of(std::uint64_t id) const {
    std::set<std::uint64_t> seen;
    while (seen.insert(id).second) {
      const Node& node = tree_.at(id);
      if (node.parents.empty()) {
        const auto place = places_.find(id);
        return place == places_.end() ? std::nullopt : std::optional(place->second);
      }
      id = node.parents.front();
    }
    return std::nullopt;
  }

  void unite(const std::vector<std::uint64_t>& ids) {
    std::optional<std::size_t> first;
    for (const std::uint64_t id : ids) {
      const auto source = source_of(id);
      if (!source) continue;
      if (first) sets_.unite(*first, *source);
      first = source;
    }
  }

  std::vector<std::vector<std::size_t>> result() {
    std::map<std::size_t, std::vector<std::size_t>> all;
    for (std::size_t i = 0; i < tree_.roots.size(); ++i) all[sets_.find(i)].push_back(i);
    std::vector<std::vector<std::size_t>> several;
    for (auto& [set, sources] : all) {
      if (sources.size() > 1) several.push_back(std::move(sources));
    }
    return several;
  }

  const Tree& tree_;
  std::map<std::uint64_t, std::size_t> places_;
  Sets sets_;
};

}  // namespace

std::vector<std::vector<std::size_t>> common_sources(const Tree& tree) {
  return Finder(tree).run();
}

}  // namespace peelfs::overlay
