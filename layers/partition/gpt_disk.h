// The GUID partition table as it stands on a disk: UEFI specification 2.10, section 5.3.
// All numbers are little-endian; an LBA counts logical blocks of the disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "peelfs/bytes.h"

namespace peelfs {

/// "GPT Header", table 5.5. The rest of its logical block is reserved.
struct GptHeader {
  static constexpr std::string_view kSignature = "EFI PART";  ///< Signature, offset 0
  static constexpr std::size_t kMinimumSize = 92;
  static constexpr std::size_t kChecksumOffset = 16;
  static constexpr std::size_t kChecksumSize = 4;
  static constexpr std::uint32_t kRevision = 0x00010000;

  std::uint32_t revision = 0;             ///< Revision, 8
  std::uint32_t header_size = 0;          ///< HeaderSize, 12: bytes that HeaderCRC32 covers
  std::uint32_t header_crc32 = 0;         ///< HeaderCRC32, 16: computed with this field zero
  std::uint64_t my_lba = 0;               ///< MyLBA, 24
  std::uint64_t alternate_lba = 0;        ///< AlternateLBA, 32
  std::uint64_t first_usable_lba = 0;     ///< FirstUsableLBA, 40
  std::uint64_t last_usable_lba = 0;      ///< LastUsableLBA, 48: inclusive
  std::string disk_guid;                  ///< DiskGUID, 56: text
  std::uint64_t partition_entry_lba = 0;  ///< PartitionEntryLBA, 72
  std::uint32_t number_of_entries = 0;    ///< NumberOfPartitionEntries, 80
  std::uint32_t entry_size = 0;           ///< SizeOfPartitionEntry, 84: 128 * 2^n
  std::uint32_t entry_array_crc32 = 0;    ///< PartitionEntryArrayCRC32, 88

  /// Decodes the fields without judging them. @param block at least kMinimumSize bytes
  static GptHeader decode(Bytes block);
};

/// "GPT Partition Entry", table 5.6.
struct GptEntry {
  static constexpr std::uint32_t kSize = 128;
  static constexpr std::uint64_t kLegacyBootable = 1U << 2;  ///< table 5.8, "Legacy BIOS Bootable"

  std::string type_guid;           ///< PartitionTypeGUID, 0: text; all zero marks an unused entry
  std::string unique_guid;         ///< UniquePartitionGUID, 16: text
  std::uint64_t starting_lba = 0;  ///< StartingLBA, 32
  std::uint64_t ending_lba = 0;    ///< EndingLBA, 40: inclusive
  std::uint64_t attributes = 0;    ///< Attributes, 48
  std::string name;                ///< PartitionName, 56: 36 UTF-16 units, here UTF-8

  /// @param entry at least kSize bytes
  /// @return nullopt for an unused entry
  static std::optional<GptEntry> decode(Bytes entry);
};

/// UTF-16LE up to the first NUL as UTF-8; a surrogate without its other half becomes U+FFFD.
/// White space at the end is left out, as blkid does.
std::string gpt_name(Bytes utf16);

}  // namespace peelfs
