// Telling disk images from other files by their first bytes.
#pragma once

#include <optional>
#include <string_view>

#include "peelfs/block_device.h"

namespace peelfs {

/// What sort of disk image a file is, by its contents.
///
/// Containers (qcow2, VMDK, VDI, VHD, VHDX, ...) and LUKS say so in magics of four bytes and more,
/// which are believed. A raw disk is known by a GPT header, by an MBR all of whose partitions lie
/// inside of the file, by an LVM label or by a filesystem at its very beginning; of those some
/// magics are weak, so they count only from 1 MiB on and for whole sectors.
/// @return a name for it; nullopt: no image
/// @throws Error when the file cannot be read
std::optional<std::string_view> image_magic(const BlockDevice& file);

/// The same for containers alone: what unpacks to a disk, or is encrypted.
std::optional<std::string_view> container_magic(const BlockDevice& file);

}  // namespace peelfs
