// Reads for recognition: bytes that cannot be read are zeroes here, and so match no signature. A
// bad block in the place of some signature must not keep the rows below from finding their
// partitions; a read of the device reports it where it matters.
#pragma once

#include <algorithm>

#include "peelfs/bytes.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::foreign {

inline constexpr std::size_t kSector = 512;

/// @return exactly `length` bytes, zeroes where the device ends or cannot be read
inline Buffer look(const BlockDevice& device, std::uint64_t offset, std::size_t length) {
  Buffer bytes(length);
  if (offset >= device.size()) return bytes;
  try {
    const Buffer there = read_up_to(device, offset, length);
    std::copy(there.begin(), there.end(), bytes.begin());
  } catch (const Error&) {
    if (length <= kSector) return bytes;
    for (std::size_t at = 0; at < length; at += kSector) {
      const Buffer sector = look(device, offset + at, std::min(kSector, length - at));
      std::copy(sector.begin(), sector.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  return bytes;
}

inline Buffer sector_at(const BlockDevice& device, std::uint64_t offset) {
  return look(device, offset, kSector);
}

}  // namespace peelfs::foreign
