// The footer of a VHD file: "Virtual Hard Disk Image Format Specification" 1.0, section "Hard Disk
// Footer Format". All numbers are big-endian.
#pragma once

#include <cstdint>
#include <optional>

#include "peelfs/bytes.h"

namespace peelfs {

struct VhdFooter {
  static constexpr std::size_t kSize = 512;
  static constexpr std::uint32_t kFixed = 2;
  static constexpr std::uint32_t kDynamic = 3;
  static constexpr std::uint32_t kDifferencing = 4;

  std::uint64_t current_size = 0;  ///< Current Size, 48: of the disk, in bytes
  std::uint32_t disk_type = 0;     ///< Disk Type, 60
  bool intact = false;             ///< whether Checksum, 64, is right

  /// @param sector kSize bytes
  /// @return nothing without the cookie "conectix"
  static std::optional<VhdFooter> decode(Bytes sector);
};

}  // namespace peelfs
