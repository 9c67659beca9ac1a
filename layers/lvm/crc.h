// The checksum of LVM2's labels, metadata area headers and metadata text.
#pragma once

#include <cstdint>

#include "peelfs/bytes.h"

namespace peelfs::lvm {

/// What a checksum starts from (LVM2: INITIAL_CRC).
inline constexpr std::uint32_t kInitialCrc = 0xf597a6cf;

/// CRC-32 with the reflected polynomial 0xedb88320 and no final inversion.
/// @param crc kInitialCrc, or the checksum of the bytes before: text that wraps is summed in two
///   parts
std::uint32_t crc32(Bytes bytes, std::uint32_t crc = kInitialCrc) noexcept;

}  // namespace peelfs::lvm
