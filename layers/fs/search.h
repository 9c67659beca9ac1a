// Looking for disk images in a filesystem.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "peelfs/error.h"
#include "peelfs/filesystem.h"
#include "peelfs/layer.h"

namespace peelfs::fs {

/// A file that is taken for a disk image, by its suffix or its contents.
struct FoundImage {
  std::vector<std::string> path;  ///< components from the root, raw; the last is the file's name
  DevicePtr device;               ///< never null: a file that cannot be read is make_unreadable()
  std::optional<Trouble> trouble;
  std::shared_ptr<const References> references;
  Filesystem::Stat file;
  std::vector<Filesystem::Id> lineage;  ///< its folders, from the root down
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
  std::size_t looked_at = 0;  ///< inodes that the run's budget paid for
};

/// The filesystem in which the devices of images are made, and a reader of it.
struct Files {
  explicit Files(std::shared_ptr<const Filesystem> of)
      : filesystem(std::move(of)), reader(filesystem->reader()) {}
  const std::shared_ptr<const Filesystem> filesystem;
  const std::unique_ptr<Filesystem::Reader> reader;
};

/// Walks the directories from the root, nearest first, and looks at every regular file once.
///
/// With an image suffix (Formats::has_image_suffix) a file of 64 KiB or more counts, and a smaller
/// one if its contents say so; without one it counts if it has at least 64 KiB and its contents say
/// so (Formats::image_format). First sectors are read in the order in which they lie on the disk.
/// @param searched what is read by the search
/// @param files on which the devices of the images are made: the same filesystem
/// @param input formats tell what an image is; limits.search_files inodes are looked at, and at
///   most limits.devices images returned; the budget pays for inodes, and may end the search
/// @throws Error when the root directory cannot be read at all
SearchResult search_images(const Files& searched, const Files& files, const OpenInput& input);

/// What an earlier search found, on a filesystem with the same bytes.
SearchResult reopen(const SearchResult& found, const Files& files);

}  // namespace peelfs::fs
