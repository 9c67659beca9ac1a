// Which parts of a device libblkid's probes look at: a fixed set, and what the structures found
// there point to. The offsets are those of libblkid 2.38 and of the formats' specifications.
#pragma once

#include "identify/sparse_copy.h"

namespace peelfs {

/// Fills in the fixed set: superblocks near the start, RAID metadata and backup tables near the
/// end.
void fill_fixed_regions(SparseCopy& copy);

/// Each follows one format, if the device has it, and does nothing otherwise. Where a format's
/// numbers are absurd, its signature is hidden instead: libblkid would allocate what they say.
void fill_ntfs(SparseCopy& copy);       ///< records 0 and 3 of $MFT, wherever it is
void fill_fat(SparseCopy& copy);        ///< the root directory and its chain in the FAT
void fill_exfat(SparseCopy& copy);      ///< the same
void fill_bitlocker(SparseCopy& copy);  ///< the FVE metadata block
void fill_hfsplus(SparseCopy& copy);    ///< the catalog's header node and first leaf
void fill_udf(SparseCopy& copy);        ///< the volume descriptor sequence
void fill_ddf(SparseCopy& copy);        ///< the primary DDF header
void fill_befs(SparseCopy& copy);       ///< the inode of the root directory
void fill_zfs(SparseCopy& copy);        ///< the third label
void fill_gpt(SparseCopy& copy);        ///< entry arrays
void fill_mbr(SparseCopy& copy);        ///< extended boot records

}  // namespace peelfs
