// The on-disk structures of qcow2, under the names and at the offsets of its specification
// (qemu, docs/interop/qcow2.rst). All numbers are big-endian. What is decoded here is not yet
// believed: header.cc, snapshot_table.cc and cluster_map.cc check it.
#pragma once

#include <cstdint>
#include <string_view>

#include "peelfs/bytes.h"

namespace peelfs::qcow2 {

inline constexpr std::string_view kMagic{"QFI\xfb", 4};

/// The file header; offsets in bytes from the start of the image.
struct DiskHeader {
  std::uint32_t version = 0;                  // 4
  std::uint64_t backing_file_offset = 0;      // 8
  std::uint32_t backing_file_size = 0;        // 16
  std::uint32_t cluster_bits = 0;             // 20
  std::uint64_t size = 0;                     // 24
  std::uint32_t crypt_method = 0;             // 32
  std::uint32_t l1_size = 0;                  // 36, in entries
  std::uint64_t l1_table_offset = 0;          // 40
  std::uint64_t refcount_table_offset = 0;    // 48
  std::uint32_t refcount_table_clusters = 0;  // 56
  std::uint32_t nb_snapshots = 0;             // 60
  std::uint64_t snapshots_offset = 0;         // 64
  // From version 3 on. Version 2 has the values that stand here.
  std::uint64_t incompatible_features = 0;  // 72
  std::uint64_t compatible_features = 0;    // 80
  std::uint64_t autoclear_features = 0;     // 88
  std::uint32_t refcount_order = 4;         // 96
  std::uint32_t header_length = 72;         // 100
  // An additional field: there when header_length is greater than its offset, else 0.
  std::uint8_t compression_type = 0;  // 104

  static constexpr std::size_t kVersion2Length = 72;
  static constexpr std::size_t kVersion3Length = 104;
};

/// @param bytes the image from its start; what has no room in them is an Error
DiskHeader decode_header(Bytes bytes);

/// incompatible_features
inline constexpr std::uint64_t kIncompatibleDirty = 1U << 0U;
inline constexpr std::uint64_t kIncompatibleCorrupt = 1U << 1U;
inline constexpr std::uint64_t kIncompatibleDataFile = 1U << 2U;
inline constexpr std::uint64_t kIncompatibleCompressionType = 1U << 3U;
inline constexpr std::uint64_t kIncompatibleExtendedL2 = 1U << 4U;
inline constexpr std::uint64_t kIncompatibleKnown = 0x1f;

/// autoclear_features: a program that writes and does not keep one true clears it.
inline constexpr std::uint64_t kAutoclearBitmaps = 1U << 0U;
inline constexpr std::uint64_t kAutoclearRawData = 1U << 1U;

/// Header extension types
inline constexpr std::uint32_t kExtensionEnd = 0;
inline constexpr std::uint32_t kExtensionBackingFormat = 0xe2792aca;
inline constexpr std::uint32_t kExtensionFeatureNames = 0x6803f857;
inline constexpr std::uint32_t kExtensionFullDiskEncryption = 0x0537be77;
inline constexpr std::uint32_t kExtensionBitmaps = 0x23852875;
inline constexpr std::uint32_t kExtensionDataFile = 0x44415441;

/// An entry of the feature name table: type (0), bit (1), name (2 to 47).
inline constexpr std::size_t kFeatureNameEntrySize = 48;

/// crypt_method
inline constexpr std::uint32_t kCryptNone = 0;
inline constexpr std::uint32_t kCryptAes = 1;
inline constexpr std::uint32_t kCryptLuks = 2;

/// compression_type
inline constexpr std::uint8_t kCompressionDeflate = 0;
inline constexpr std::uint8_t kCompressionZstd = 1;

/// An entry of an L1 table: bits 9-55 the offset of an L2 table, bit 63 "refcount is exactly one".
struct L1Entry {
  std::uint64_t raw = 0;
  static constexpr std::uint64_t kOffsetMask = 0x00ff'ffff'ffff'fe00;
  static constexpr std::uint64_t kReservedMask = 0x7f00'0000'0000'01ff;
  constexpr std::uint64_t l2_offset() const noexcept { return raw & kOffsetMask; }
  constexpr std::uint64_t reserved() const noexcept { return raw & kReservedMask; }
};

/// The first (or only) 64 bits of an entry of an L2 table.
struct L2Entry {
  std::uint64_t raw = 0;
  static constexpr std::uint64_t kCopiedBit = 1ULL << 63U;
  static constexpr std::uint64_t kCompressedBit = 1ULL << 62U;
  static constexpr std::uint64_t kZeroBit = 1;
  static constexpr std::uint64_t kOffsetMask = 0x00ff'ffff'ffff'fe00;
  static constexpr std::uint64_t kReservedMask = 0x3f00'0000'0000'01fe;
  constexpr bool compressed() const noexcept { return (raw & kCompressedBit) != 0; }
  constexpr bool copied() const noexcept { return (raw & kCopiedBit) != 0; }
  constexpr bool zero() const noexcept { return (raw & kZeroBit) != 0; }
  constexpr std::uint64_t host_offset() const noexcept { return raw & kOffsetMask; }
  constexpr std::uint64_t reserved() const noexcept { return raw & kReservedMask; }
};

/// The last 64 bits of an extended L2 entry.
struct SubclusterBitmap {
  std::uint64_t raw = 0;
  constexpr std::uint32_t allocated() const noexcept { return static_cast<std::uint32_t>(raw); }
  constexpr std::uint32_t zeroes() const noexcept { return static_cast<std::uint32_t>(raw >> 32U); }
};
inline constexpr std::uint32_t kSubclustersPerCluster = 32;

/// The compressed cluster descriptor.
struct CompressedDescriptor {
  std::uint64_t host_offset = 0;  ///< bits 0 to x-1; x = 62 - (cluster_bits - 8)
  /// From host_offset to the end of the last 512-byte sector that holds data; at most two clusters.
  std::uint32_t length = 0;
};
constexpr CompressedDescriptor decode_compressed(std::uint64_t entry, std::uint32_t cluster_bits) {
  const std::uint32_t x = 62 - (cluster_bits - 8);
  const std::uint64_t host_offset = entry & ((1ULL << x) - 1);
  const std::uint64_t more_sectors = (entry >> x) & ((1ULL << (cluster_bits - 8)) - 1);
  return {host_offset, static_cast<std::uint32_t>((more_sectors + 1) * 512 - (host_offset & 511U))};
}

/// The part of a snapshot table entry that every entry has; extra data, ID and name follow.
struct DiskSnapshot {
  std::uint64_t l1_table_offset = 0;   // 0
  std::uint32_t l1_size = 0;           // 8, in entries
  std::uint16_t id_size = 0;           // 12
  std::uint16_t name_size = 0;         // 14
  std::uint32_t date_seconds = 0;      // 16
  std::uint32_t date_nanoseconds = 0;  // 20
  std::uint32_t vm_state_size = 0;     // 32, bytes; of old images
  std::uint32_t extra_data_size = 0;   // 36
  // Extra data: the size of the VM state is at 40, that of the disk at 48.
  static constexpr std::size_t kFixedSize = 40;
  static constexpr std::size_t kVmStateAt = 40;
  static constexpr std::size_t kDiskSizeAt = 48;
  static constexpr std::size_t kDiskSizeEnd = 56;
};
DiskSnapshot decode_snapshot(Bytes bytes);

}  // namespace peelfs::qcow2
