// The catalogue gives every device of a tree its one flat, safe, unique name, and says which links
// (by-uuid, by-label, ..., by-path) point at it. The mount, `ls`, `cat` and `unlock` all go by it.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scan/scanner.h"

namespace peelfs {

/// One symbolic link. `directory` is relative to the root of the mount, without slashes at its ends
/// ("by-uuid", "by-path/os43/p2"); `target` is relative to that directory ("../os43p2").
struct Link {
  std::string directory;
  std::string name;
  std::string target;
};

/// Immutable: safe from any thread.
class Catalog {
 public:
  struct Entry {
    std::string name;  ///< unique, a valid file name, printable
    std::shared_ptr<const Node> node;
  };

  /// A name that several devices want is given by these rules, everywhere in the same way:
  /// - a source gets it before what was found inside of others, if only one source wants it;
  /// - otherwise each is qualified by its source, its folder or its image ("vm1.os", "vm2.os");
  /// - where that does not tell them apart, the first gets the name and the others NAME~2, NAME~3,
  ///   in the order in which sources were named and devices lie in them.
  /// Below by-path a device whose place another one wants carries the same mark: what X~N is in the
  /// root is X~N there.
  /// @param previous names and places that it published, or that others did before it, stay as they
  ///   are for the same devices, and are given to no other one (null: none)
  Catalog(std::shared_ptr<const Tree> tree, const Catalog* previous);

  const Tree& tree() const noexcept { return *tree_; }
  /// Every device file, sorted by name.
  std::span<const Entry> devices() const noexcept { return devices_; }
  std::span<const Link> links() const noexcept { return links_; }

  /// The device a person means: a flat name, a UUID, LABEL=..., UUID=..., PARTUUID=...,
  /// PARTLABEL=... or a path below by-path. Null when there is none, or when it is not unambiguous.
  const Entry* find(std::string_view what) const;
  /// The flat name of a node; "" when it has no device file.
  const std::string& name_of(std::uint64_t id) const;
  /// Whether several sources want this device's name, so that a listing must tell its file.
  bool is_doubled(std::uint64_t id) const { return doubled_.contains(id); }
  /// The file that a device comes from: the path of its first source, as the person wrote it.
  const std::string& source_of(std::uint64_t id) const;
  /// Things a person should know about names: links that are ambiguous, and why.
  std::span<const std::string> remarks() const noexcept { return remarks_; }

 private:
  void assign_names();
  void number(const Node& node, const std::string& name);
  void give(const Node& node, std::string name);
  bool is_taken(const std::string& name) const;
  void add_links();
  void add_paths();
  std::string place_of(const Node& node, const std::string& above, bool alone);

  std::shared_ptr<const Tree> tree_;
  std::vector<Entry> devices_;
  std::map<std::uint64_t, std::string> names_;
  std::map<std::string, std::uint64_t, std::less<>> by_name_;
  /// All names and places ever given, also by earlier catalogues, with the ids of their devices.
  std::map<std::string, std::uint64_t> given_names_, given_places_;
  std::map<std::uint64_t, std::string> former_names_, places_;
  std::map<std::uint64_t, unsigned> numbers_;  ///< N of those that are called NAME~N
  std::set<std::uint64_t> doubled_;
  std::vector<Link> links_;
  std::vector<std::string> remarks_;
};

/// `lsblk -J`'s shape: {"blockdevices": [...]}; see design section 4. Ends with a newline.
std::string tree_json(const Catalog& catalog);

/// Escapes as udev does for /dev/disk/by-label: what is not a plain character becomes \xNN.
std::string udev_escape(std::string_view text);

}  // namespace peelfs
