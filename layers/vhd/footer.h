// The footer of a VHD file, and the header of a dynamic one: "Virtual Hard Disk Image Format
// Specification" 1.0, sections "Hard Disk Footer Format" and "Dynamic Disk Header Format". All
// numbers are big-endian.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "peelfs/bytes.h"

namespace peelfs {

struct VhdFooter {
  static constexpr std::size_t kSize = 512;
  static constexpr std::uint32_t kFixed = 2;
  static constexpr std::uint32_t kDynamic = 3;
  static constexpr std::uint32_t kDifferencing = 4;

  std::uint64_t data_offset = 0;   ///< Data Offset, 16: of the dynamic header, in bytes
  std::string creator;             ///< Creator Application, 28: four characters
  std::uint64_t current_size = 0;  ///< Current Size, 48: of the disk, in bytes
  std::uint64_t geometry = 0;      ///< Disk Geometry, 56: cylinders * heads * sectors
  bool is_greatest = false;        ///< the geometry is the greatest that there is
  std::uint32_t disk_type = 0;     ///< Disk Type, 60
  bool intact = false;             ///< whether Checksum, 64, is right

  /// Bytes of the disk. Virtual PC and qemu (unless told otherwise) mean the geometry, where it can
  /// say the size; all others mean Current Size.
  std::uint64_t disk_size() const;

  /// @param sector kSize bytes
  /// @return nothing without the cookie "conectix"
  static std::optional<VhdFooter> decode(Bytes sector);
};

struct VhdDynamicHeader {
  static constexpr std::size_t kSize = 1024;

  std::uint64_t offset = 0;             ///< where it lies in the file, in bytes
  std::uint64_t table_offset = 0;       ///< Table Offset, 16: of the block allocation table
  std::uint32_t max_table_entries = 0;  ///< Max Table Entries, 28
  std::uint32_t block_size = 0;         ///< Block Size, 32: bytes of data, without the bitmap
  bool intact = false;                  ///< whether Checksum, 36, is right

  /// @param bytes kSize bytes
  /// @return nothing without the cookie "cxsparse"
  static std::optional<VhdDynamicHeader> decode(Bytes bytes);
};

}  // namespace peelfs
