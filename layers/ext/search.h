// Looking for disk images in an ext filesystem.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ext/library.h"
#include "peelfs/layer.h"

namespace peelfs::ext {

/// A file that is taken for a disk image, by its suffix or its contents.
struct FoundImage {
  std::vector<std::string> path;  ///< components from the root, raw; the last is the file's name
  DevicePtr device;               ///< never null: a file that cannot be read is make_unreadable()
  std::optional<Trouble> trouble;
  std::shared_ptr<const References> references;
};

struct SearchResult {
  std::vector<FoundImage> images;   ///< sorted by path
  std::vector<std::string> limits;  ///< what was not searched and why, for people
  std::vector<std::string> damage;  ///< the first few things that could not be read
  std::size_t damage_count = 0;     ///< all of them
};

/// Walks the directories from the root, nearest first, and looks at every regular file once.
///
/// With an image suffix (has_image_suffix) a file of 64 KiB or more counts, and a smaller one if
/// its contents say so; without one it counts if it has at least 64 KiB and its contents say so
/// (image_magic). First sectors are read in the order in which they lie on the disk.
/// @param limits search_files inodes are looked at, and at most `devices` images returned
/// @throws Error when the root directory cannot be read at all
SearchResult search_images(Library& library, const Limits& limits);

}  // namespace peelfs::ext
