// What bytes of a filesystem are, in words: for `peelfs diff`, which says what changed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "peelfs/byte_range.h"
#include "peelfs/filesystem.h"

namespace peelfs::fs {

/// "superblock", "directory /etc", "file /etc/fstab", "block map or attributes of /etc/fstab",
/// "data"; "" for bytes that belong to nothing.
std::string text_of(const Filesystem::Owner& owner);

/// Filesystem::owners() in words.
/// @return all of the ranges, in order; neighbours with one name are one
std::vector<NamedRange> name_blocks(const Filesystem& filesystem,
                                    std::span<const ByteRange> ranges);

/// One side of a comparison.
struct Side {
  const Filesystem* filesystem = nullptr;  ///< null: there is none whose owners are known
  std::uint64_t size = 0;                  ///< of the device, in bytes
};

/// Names bytes by what they are now; bytes that belong to nothing now, by what they were before
/// ("formerly file /etc/fstab"), and as "free space" where they belonged to nothing then, either.
/// @param ranges that have changed, in order, not overlapping; what lies beyond the end of the
///   device now is left out
/// @return in order; empty when there is no filesystem on either side
/// @throws what Filesystem::owners() throws
std::vector<NamedRange> name_changes(const Side& before, const Side& now,
                                     std::span<const ByteRange> ranges);

}  // namespace peelfs::fs
