// The CRC-32 of ISO 3309 / ITU-T V.42, as UEFI prescribes it for partition tables.
#pragma once

#include <cstdint>

#include "peelfs/bytes.h"

namespace peelfs {

/// @return the CRC of the bytes: reflected polynomial 0xEDB88320, start and final inversion of all
///   bits.
std::uint32_t crc32(Bytes bytes) noexcept;

}  // namespace peelfs
