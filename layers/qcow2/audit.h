// Are the reference counts of an image true? Whoever writes trusts them with every byte.
#pragma once

#include "peelfs/block_device.h"
#include "qcow2/header.h"
#include "qcow2/refcounts.h"

namespace peelfs::qcow2 {

/// Counts what the image refers to, in all of its tables and snapshots, and compares. Clusters that
/// count too high (leaks) are fine. Reads every L1 and L2 table once.
/// @param end bytes of the file in use
/// @throws Error(Fault::damaged) naming the first cluster that counts too low, or that an entry
///   calls its own although others refer to it: writing could destroy data
void audit_counts(const BlockDevice& file, const Header& header, std::uint64_t end,
                  Refcounts& counts);

}  // namespace peelfs::qcow2
