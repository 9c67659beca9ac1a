// What must stand on the disk while the legs of a mirror are written to.
//
// A crash between the writes to two legs leaves them different, and nothing would tell: the next
// read may come from either. The kernel keeps a log against that; here the whole mirror is marked
// before the first write and the marks are taken back when all is flushed.
//
// - "mirror" with a log on disk (dm-log.c): all clean bits are 0 meanwhile. The kernel copies such
//   regions from the first leg to the others.
// - "mirror" with its log in memory: the kernel always copies everything from the first leg.
// - "raid1" (dm-raid.c, md-bitmap.c): array_resync_offset is 0 on all legs and all bits of the
//   write-intent bitmaps are 1. Either alone is not enough: with the offset at its end bits of the
//   bitmap need no resynchronisation, and without bits chunks are skipped.
#pragma once

#include <cstdint>
#include <vector>

#include "raid/mirror_device.h"

namespace peelfs::raid {

/// @param log whose header read_mirror_log() has accepted, with all `regions` clean
/// @throws Error when it cannot be read
Mark mirror_log_mark(const DevicePtr& log, std::uint64_t regions);

/// @param metadata of one leg, with a superblock
/// @throws Error: unsupported when it has no write-intent bitmap (the array was never active)
std::vector<Mark> raid_marks(const DevicePtr& metadata);

}  // namespace peelfs::raid
