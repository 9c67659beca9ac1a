// Tells a partition table in sector 0 from other sectors that end in 0x55AA.
#pragma once

#include "peelfs/bytes.h"
#include "peelfs/layer.h"

namespace peelfs {

/// Whether a sector that ends in 0x55AA begins a filesystem (FAT, NTFS, exFAT, ReFS, HPFS, JFS,
/// BitLocker): what stands where a partition table would be is then boot code.
/// @param sector the first 512 bytes of the device
/// @param identity what libblkid said of the same device
bool is_filesystem_boot_sector(Bytes sector, const Identity& identity);

}  // namespace peelfs
