// What a disk image inside a filesystem may name: files of the same filesystem.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "peelfs/filesystem.h"
#include "peelfs/layer.h"

namespace peelfs::fs {

/// A file that was found by its name.
struct Located {
  Filesystem::Stat file;
  std::vector<Filesystem::Id> directory;  ///< from the root down to where it lies
  std::string name;                       ///< its last component, raw
};

/// Follows `name` from a directory, as the kernel would with the filesystem's root as root: ".." of
/// the root is the root, absolute names and symbolic links begin there too, and nothing leads out.
/// @param directory from the root down to it
/// @throws Error: missing, or damaged, or what too many links or components mean
Located locate(Filesystem::Reader& reader, std::vector<Filesystem::Id> directory,
               std::string_view name);

/// Relative names are looked for in `directory`; absolute ones below the place that the filesystem
/// was last mounted on (Filesystem::last_mounted) if they begin with it, and then from its root.
/// Symbolic links are followed inside the filesystem; nothing ever leads to the host. Thread-safe.
/// @param directory from the root down to where the image lies
std::shared_ptr<const References> make_references(std::shared_ptr<const Filesystem> filesystem,
                                                  std::vector<Filesystem::Id> directory);

}  // namespace peelfs::fs
