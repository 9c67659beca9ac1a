// Reads a master boot record and follows its chains of extended boot records.
#pragma once

#include <cstdint>
#include <vector>

#include "partition/mbr_disk.h"
#include "partition/part_device.h"
#include "peelfs/block_device.h"

namespace peelfs {

struct MbrPartition {
  std::uint32_t number = 0;  ///< 1 to 4 by place in the MBR; from 5 on in the order of the chain
  std::uint8_t os_type = 0;
  bool extended = false;
  bool bootable = false;           ///< BootIndicator 0x80
  bool begins_with_table = false;  ///< its first block is the record that describes it
  PartRange range;                 ///< in logical blocks, absolute
  Troubles troubles;
};

struct MbrTable {
  std::uint32_t sector_size = 512;  ///< bytes of the logical block that the table counts in
  std::uint32_t disk_signature = 0;
  std::vector<MbrPartition> partitions;  ///< primaries by number, then logicals
  Troubles troubles;                     ///< of the chains
};

/// The numbering, and which entries count, are those of Linux (block/partitions/msdos.c): an entry
/// of size 0 is unused; logicals of several extended partitions are numbered on; in an extended
/// boot record the third and fourth entries count only if they lie inside. A chain that loops,
/// leaves the disk, loses its signature or cannot be read ends there, and `troubles` says so: what
/// was found before it stays. Reads at most a few thousand sectors. Thread-safe.
MbrTable read_mbr(const BlockDevice& device, const MbrSector& mbr);

}  // namespace peelfs
