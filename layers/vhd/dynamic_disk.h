// The disk in a dynamic VHD image: blocks, which a table finds or says to be absent.
#pragma once

#include <string>

#include "peelfs/block_device.h"
#include "vhd/footer.h"

namespace peelfs {

/// Absent blocks read as zero, and so do the sectors that the bitmap in front of a block does not
/// mark: their place in the file may hold something older.
/// @param size bytes of the disk, see VhdFooter::disk_size()
/// @throws Error: damaged when the header contradicts itself, the file or the size; unsupported
///   when the table would take more memory than that of any disk in this format needs
DevicePtr make_vhd_dynamic_disk(DevicePtr file, const VhdDynamicHeader& header, std::uint64_t size,
                                std::string description);

}  // namespace peelfs
