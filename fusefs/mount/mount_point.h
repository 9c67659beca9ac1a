// The directory to mount on, held open from the moment when it is checked: even if its path changes
// later (a link takes the place of a directory above it), the mount goes to the directory that was
// checked.
#pragma once

#include <string>

#include "mount/process.h"

namespace peelfs {

/// A name in a directory that is held open.
struct PinnedName {
  int parent = -1;   ///< O_PATH
  std::string name;  ///< one component, or "." for the root directory
  std::string path;  ///< absolute, without links, when it was looked at
};

class MountPoint {
 public:
  /// Finds it and holds it. A mount of peelfs that is there already is not touched: it may hang.
  /// @throws Error: there is none, it is no directory, or a mount of peelfs is there
  explicit MountPoint(const std::string& path);

  /// Absolute, without links.
  const std::string& path() const noexcept { return at_.path; }
  /// @throws Error when it has been moved since: the person meant this path
  void check_unmoved() const;
  /// An O_PATH descriptor of what lies below the mount.
  int directory() const noexcept { return directory_.get(); }
  /// How the mount itself is reached, without following a link.
  const PinnedName& pinned() const noexcept { return at_; }

 private:
  UniqueFd directory_, parent_;
  PinnedName at_;
};

}  // namespace peelfs
