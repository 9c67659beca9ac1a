// Where a filesystem's own tables lie.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cstdint>
#include <functional>
#include <string>

namespace peelfs::ext {

/// Visits super blocks, group descriptors, bitmaps and inode tables with their copies, as the
/// descriptors have them: those of a damaged filesystem may lie anywhere, and overlap.
/// @param visit (what it is, for a person; its first block; how many blocks)
void for_each_table(ext2_filsys filesystem,
                    const std::function<void(const std::string& what, std::uint64_t block,
                                             std::uint64_t count)>& visit);

}  // namespace peelfs::ext
