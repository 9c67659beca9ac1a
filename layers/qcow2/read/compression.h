// Compressed clusters.
#pragma once

#include <cstdint>

#include "peelfs/bytes.h"

namespace peelfs::qcow2 {

/// Unpacks one cluster: raw deflate with a window of 4 KiB, or zstd frames.
/// @param type compression_type of the header
/// @param packed the compressed bytes; bytes of other clusters may follow in the last sector
/// @param out filled completely; a cluster
/// @throws Error(Fault::damaged) when the data does not make a whole cluster
/// Thread-safe; its working memory is kept for each thread and bounded (zstd unpacks straight into
/// `out`, so that a frame cannot demand a window of its own).
void decompress(std::uint8_t type, Bytes packed, MutableBytes out);

}  // namespace peelfs::qcow2
