// Finds the GUID partition table of a disk with logical blocks of any size, and verifies it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "partition/gpt_disk.h"
#include "partition/part_device.h"
#include "peelfs/block_device.h"
#include "peelfs/error.h"

namespace peelfs {

/// A table whose header and entries both have the right checksum.
struct GptTable {
  struct Partition {
    std::uint32_t number = 0;  ///< from 1; the place in the array, so gaps stay
    GptEntry entry;
  };
  std::uint32_t sector_size = 512;  ///< bytes of one logical block, as the table's place proves it
  bool from_backup = false;         ///< the primary is damaged
  bool both_copies = false;         ///< primary and backup are valid
  std::uint64_t backup_lba = 0;     ///< of a backup that is not at the last LBA; 0: it is
  GptHeader header;
  std::vector<Partition> partitions;  ///< the used entries, by number
  Troubles troubles;                  ///< of the table as a whole
};

struct GptSearch {
  std::optional<GptTable> table;
  /// What is wrong with the primary and with the backup header; both are set when there is no
  /// table.
  std::optional<Error> primary, backup;
  /// Whether "EFI PART" stands where a header would be.
  bool signature_seen = false;
};

/// Looks for the primary header at LBA 1 and then for the backup (at the last LBA, where the
/// damaged primary says, where the protective MBR says), with the device's own logical block size
/// first, then 512, 4096, 1024 and 2048 bytes: an image file does not know what its disk had. Bytes
/// that cannot be read count as a damaged copy. Holds less than 16 MiB in memory and reads less
/// than 64 MiB; damaged headers cannot raise this. Thread-safe.
GptSearch find_gpt(const BlockDevice& device);

}  // namespace peelfs
