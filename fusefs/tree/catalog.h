// The catalogue gives every device of a tree its one flat, safe, unique name, and says which links
// (by-uuid, by-label, ..., by-path) point at it. The mount, `ls`, `cat` and `unlock` all go by it.
#pragma once

#include <map>
#include <memory>
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

  /// @param previous names that it published stay as they are for the same devices (null: none)
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
  /// Things a person should know about names: links that are ambiguous, and why.
  std::span<const std::string> remarks() const noexcept { return remarks_; }

 private:
  void assign_names(const Catalog* previous);
  void add_links();
  void add_paths();

  std::shared_ptr<const Tree> tree_;
  std::vector<Entry> devices_;
  std::map<std::uint64_t, std::string> names_;
  std::map<std::string, std::uint64_t, std::less<>> by_name_;
  std::vector<Link> links_;
  std::vector<std::string> remarks_;
};

/// `lsblk -J`'s shape: {"blockdevices": [...]}; see design section 4. Ends with a newline.
std::string tree_json(const Catalog& catalog);

/// Escapes as udev does for /dev/disk/by-label: what is not a plain character becomes \xNN.
std::string udev_escape(std::string_view text);

}  // namespace peelfs
