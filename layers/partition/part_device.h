// What both sorts of partition table share: a range of the disk as a device, and the troubles it
// has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/layer.h"
#include "peelfs/trouble.h"

namespace peelfs {

/// A partition as its table describes it, in logical blocks.
struct PartRange {
  std::uint64_t start = 0;  ///< LBA
  std::uint64_t count = 0;  ///< logical blocks; 0: the table's numbers make no range at all
};

/// The device of a partition with the size that the table gives it, also if the disk ends before:
/// bytes beyond the end of a truncated disk cannot be read (EIO), and `troubles` says so.
/// @param sector_size bytes of the logical block that the table counts in; the device keeps it
/// @param description "partition 2 of os43"
DevicePtr make_part_device(const DevicePtr& disk, const PartRange& range, std::uint32_t sector_size,
                           const std::string& description, Troubles& troubles);

/// What a table says of a partition besides its range, as properties of its device: "partn",
/// "parttypename" (unless it is empty) and "boot", and its offset.
/// @param boot whether a boot loader takes it for the active one
void describe_partition(Inner& inner, const PartRange& range, std::uint32_t sector_size,
                        std::uint32_t number, std::string_view type_name, bool boot);

/// For every range the index of another one that overlaps it and begins no later, or nullopt. Empty
/// ranges overlap nothing. In n log n steps.
std::vector<std::optional<std::size_t>> find_overlaps(const std::vector<PartRange>& ranges);

/// "LBA 2048 to 4095"
std::string lba_range(const PartRange& range);

}  // namespace peelfs
