// What a signature alone does not prove: versions, checksums, and which variant of a format it is.
// All read a few sectors at fixed places; bytes that cannot be read count as zeroes.
#pragma once

#include "peelfs/block_device.h"

namespace peelfs::foreign {

bool is_vmdk_extent(const BlockDevice& device);  ///< with a descriptor of its own, or of ESX
bool is_vmdk_part(const BlockDevice& device);    ///< described by another file
bool is_differencing_vhd(const BlockDevice& device);
bool is_differencing_vhdx(const BlockDevice& device);
bool is_differencing_vdi(const BlockDevice& device);
bool is_dmg(const BlockDevice& device);
bool is_later_ewf_segment(const BlockDevice& device);
bool is_aff4(const BlockDevice& device);
bool is_bzip2(const BlockDevice& device);

bool is_bitlocker_of_vista(const BlockDevice& device);
bool is_bitlocker_in_conversion(const BlockDevice& device);
bool is_bitlocker_with_clear_key(const BlockDevice& device);
/// By the boot sector alone: its OEM name, and for To Go the GUID, too.
bool is_bitlocker_boot_sector(const BlockDevice& device);
bool is_core_storage(const BlockDevice& device);
bool is_amiga(const BlockDevice& device);
bool has_bsd_label(const BlockDevice& device);
bool is_minix_subpartition(const BlockDevice& device);
/// Whether no MBR partition lies behind sector 0: a label in one of the next sectors is then no
/// leftover. FreeBSD's boot block has one entry, which begins with the boot block itself.
bool is_label_of_the_whole(const BlockDevice& device);

}  // namespace peelfs::foreign
