// What every filesystem keeps, whatever it is.
#pragma once

#include "peelfs/filesystem.h"

namespace peelfs::test {

/// Walks all of it, with several readers and from several threads, and fails the running test with
/// what contradicts itself: entries and stat(), find() and list(), files and their sizes, owners of
/// the bytes of files, free space, allowances.
/// @param device whose bytes owners() and free_space() speak of; at most 256 MiB
/// @return how many files it has met, directories included
std::size_t check_filesystem(const Filesystem& filesystem, const BlockDevice& device);

}  // namespace peelfs::test
