// Looking for disk images in an ext filesystem.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ext/inode.h"
#include "ext/library.h"
#include "peelfs/error.h"
#include "peelfs/layer.h"

namespace peelfs::ext {

/// A file that is taken for a disk image, by its suffix or its contents.
struct FoundImage {
  std::vector<std::string> path;  ///< components from the root, raw; the last is the file's name
  DevicePtr device;               ///< never null: a file that cannot be read is make_unreadable()
  std::optional<Trouble> trouble;
  std::shared_ptr<const References> references;
  Inode inode;
  std::vector<std::uint32_t> lineage;  ///< inodes of its folders, from the root down
};

struct SearchResult {
  std::vector<FoundImage> images;   ///< sorted by path
  std::vector<std::string> limits;  ///< what was not searched and why, for people
  std::vector<std::string> damage;  ///< the first few things that could not be read
  std::size_t damage_count = 0;     ///< all of them
  /// The kind of these failures: damaged if one of them is damage, otherwise the kind of the first.
  Fault fault = Fault::damaged;
  /// Whether a search of the same bytes would find the same: nothing failed, and the run's budget
  /// did not end it.
  bool repeatable = true;
};

/// Walks the directories from the root, nearest first, and looks at every regular file once.
///
/// With an image suffix (Formats::has_image_suffix) a file of 64 KiB or more counts, and a smaller
/// one if its contents say so; without one it counts if it has at least 64 KiB and its contents say
/// so (Formats::image_format). First sectors are read in the order in which they lie on the disk.
/// @param library whose device is read by the search
/// @param files on which the devices of the images are made: of the same filesystem
/// @param input formats tell what an image is; limits.search_files inodes are looked at, and at
///   most limits.devices images returned; the budget pays for inodes, and may end the search
/// @throws Error when the root directory cannot be read at all
SearchResult search_images(Library& library, Library& files, const OpenInput& input);

/// What an earlier search found, on a device with the same bytes.
SearchResult reopen(const SearchResult& found, Library& files);

}  // namespace peelfs::ext
