// Checks that the reference counts of an image are true: a writer relies on them for every byte.
#pragma once

#include <cstdint>
#include <vector>

#include "peelfs/block_device.h"
#include "qcow2/header.h"
#include "qcow2/write/refcounts.h"

namespace peelfs::qcow2 {

/// Counts that are too high: bytes of the image file, and by how much each of their clusters is.
struct Leak {
  std::uint64_t offset = 0;
  std::uint64_t excess = 0;
};

/// Counts what the image refers to, in all of its tables, snapshots and bitmaps, and compares.
/// Reads every L1 and L2 table once.
/// @param end bytes of the file in use
/// @return clusters that count too high, which does no harm; at most 2^20 of them
/// @throws Error: damaged, naming the first cluster that counts too low, or that an entry calls its
///   own although others refer to it, or metadata that is shared: writing could destroy data;
///   unsupported for an image that is too large to be checked
std::vector<Leak> audit_counts(const BlockDevice& file, const Header& header, std::uint64_t end,
                               Refcounts& counts);

}  // namespace peelfs::qcow2
