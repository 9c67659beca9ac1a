// The name that an image gives to another file, taken apart without a look at the file system.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace peelfs {

struct ReferenceName {
  /// Absolute and normal: without ".", ".." and empty components.
  std::filesystem::path path;
  /// What the name goes into and leaves again by "..", each absolute and normal. The path is the
  /// named file's only if these are directories and no links.
  std::vector<std::filesystem::path> detours;
};

/// @param name as it stands in the image
/// @param directory where the image lies: absolute and without links
/// @throws Error: damaged when it can be no name of a file, denied when it names a directory
ReferenceName parse_reference(std::string_view name, const std::filesystem::path& directory);

/// @return the path from the directory down to `path`; empty when it does not lie beneath it. Both
///   are absolute and normal
std::filesystem::path path_beneath(const std::filesystem::path& path,
                                   const std::filesystem::path& directory);

}  // namespace peelfs
