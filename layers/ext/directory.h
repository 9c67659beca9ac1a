// Reading directories of an ext filesystem.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ext/library.h"
#include "peelfs/error.h"

namespace peelfs::ext {

/// What reading directories may cost, over many of them: one for a block, more for a damaged one.
struct DirectoryBudget {
  std::uint64_t blocks = std::uint64_t{1} << 16U;
};

/// Calls `visit` for each name but "." and "..", in the order of the disk, until it answers false.
/// Blocks are read one by one; a hash index is not used. A damaged block costs the names behind the
/// damage, not the directory.
/// @param budget blocks read are taken from it; at 0 reading ends
/// @return what was wrong, the first thing only; nullopt: nothing
/// @throws Error when there is nothing to read at all (encrypted names, damaged inline data)
std::optional<Error> read_directory(Library& library, const Inode& inode, DirectoryBudget& budget,
                                    const std::function<bool(const DirectoryEntry&)>& visit);

/// A file that was found by its name.
struct Located {
  Inode inode;
  std::vector<std::uint32_t> directory;  ///< inodes from the root down to where it lies
  std::string name;                      ///< its last component, raw
};

/// Follows `name` from a directory, as the kernel would with the filesystem's root as root: ".." of
/// the root is the root, absolute names and symbolic links begin there too, and nothing leads out.
/// @param directory inodes from the root down to it
/// @throws Error: missing, or damaged, or what too many links or components mean
Located locate(Library& library, std::vector<std::uint32_t> directory, std::string_view name);

}  // namespace peelfs::ext
