// Reading directories of an ext filesystem.
#pragma once

#include <functional>
#include <optional>

#include "ext/library.h"
#include "peelfs/error.h"
#include "peelfs/filesystem.h"

namespace peelfs::ext {

/// Calls `visit` for each name but "." and "..", in the order of the disk, until it answers false.
/// Blocks are read one by one; a hash index is not used. A damaged block costs the names behind the
/// damage, not the directory.
/// @param allowance blocks read are taken from it; when it has ended reading ends
/// @return what was wrong, the first thing only; nullopt: nothing
/// @throws Error when there is nothing to read at all (encrypted names, damaged inline data)
std::optional<Error> read_directory(Library& library, const Inode& inode,
                                    Filesystem::Allowance& allowance,
                                    const std::function<bool(const DirectoryEntry&)>& visit);

}  // namespace peelfs::ext
