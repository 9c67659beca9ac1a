// Space in a host file, before anything is written there.
#pragma once

#include <cstdint>

#include "peelfs/host_file.h"

namespace peelfs {

/// Gives a range of a sparse file space of its own, without changing what it reads as, nor the
/// file's size. Nothing happens where the host cannot, or a file has no holes.
/// @throws Error with the host's errno (ENOSPC) when there is none
void claim_in_file(const HostFile& file, std::uint64_t offset, std::uint64_t length);

}  // namespace peelfs
