// The legacy master boot record and the extended boot records it leads to, as they stand on a disk:
// UEFI specification 2.10, section 5.2, and IBM/Microsoft practice. All numbers are little-endian.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "peelfs/bytes.h"

namespace peelfs {

/// "Legacy MBR Partition Record", table 5.2: 16 bytes.
struct MbrEntry {
  static constexpr std::size_t kSize = 16;

  std::uint8_t boot_indicator = 0;  ///< BootIndicator, 0: 0x80 bootable, 0x00 not
  std::uint8_t os_type = 0;         ///< OSType, 4: 0 marks an unused record
  std::uint32_t starting_lba = 0;   ///< StartingLBA, 8
  std::uint32_t size_in_lba = 0;    ///< SizeInLBA, 12

  bool extended() const noexcept { return os_type == 0x05 || os_type == 0x0F || os_type == 0x85; }
  /// GPT protective: the space belongs to a GUID partition table.
  bool protective() const noexcept { return os_type == 0xEE; }
};

/// "Legacy MBR", table 5.1, and an extended boot record, which has the same shape.
struct MbrSector {
  static constexpr std::size_t kSize = 512;
  static constexpr std::uint16_t kSignature = 0xAA55;

  std::uint32_t disk_signature = 0;  ///< UniqueMBRDiskSignature, 440
  std::array<MbrEntry, 4> entries;   ///< PartitionRecord, 446
  std::uint16_t signature = 0;       ///< Signature, 510

  bool signed_as_mbr() const noexcept { return signature == kSignature; }
  bool has_protective() const noexcept;
  /// Whether every BootIndicator is 0x00 or 0x80: in boot code that merely ends in the signature
  /// they are not, and Linux tells a table by it.
  bool plausible() const noexcept;

  /// @param sector at least kSize bytes
  static MbrSector decode(Bytes sector);
};

}  // namespace peelfs
