// The places of a source that change when it is used: partition tables, the headers of volumes and
// of encryption, super blocks.
#pragma once

#include <vector>

#include "overlay/fingerprint.h"
#include "peelfs/block_device.h"
#include "peelfs/byte_range.h"
#include "scan/scanner.h"

namespace peelfs::overlay {

/// The beginning and the end of every device that was found, since all of those lie there, as far
/// as they are bytes of `disk` or are computed from bytes of it (encryption).
/// @param disk one of the tree's own
/// @return sorted by how deep the devices lie, outermost first; not longer than some thousands
std::vector<ByteRange> table_places(const Tree& tree, const BlockDevice& disk);

/// Those of the places that no sample of the fingerprint has yet, so many that its tables stay
/// below 128 pieces and 4 MiB.
std::vector<ByteRange> not_yet_sampled(const std::vector<ByteRange>& places,
                                       const Fingerprint& known);

}  // namespace peelfs::overlay
