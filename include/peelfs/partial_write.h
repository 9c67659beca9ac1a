// Writing where space may end: as much as there is room for, and not a byte more.
#pragma once

#include <cstddef>
#include <cstdint>

#include "peelfs/block_device.h"

namespace peelfs {

/// Writes data.size() bytes at `offset` like write(), but where space ends within them, those
/// before stay written. Bytes behind the ones that it counts are what they were, if each layer
/// below keeps its duty: a store() that finds no space has changed a front part of its bytes at
/// most, and none of a granule (see claim_units()).
/// @return bytes written, from the first on; at least 1
/// @throws Error like write(). With ENOSPC, EDQUOT or EFBIG no byte has changed; with others some
///   may have
/// Thread-safe.
std::size_t write_some(const BlockDevice& device, std::uint64_t offset, Bytes data);

/// Whether an errno says that there was no room.
bool is_no_space(int error_number) noexcept;

/// To be called before bytes are written that only make sense in whole units: the sectors of an
/// encryption. Where a unit lies in several pieces below, each of them gets space first, so that
/// the write is not refused in the middle of one.
/// @param offset where the units begin in `device`; length is a multiple of `unit` (a power of two)
/// The caller makes sure that no other thread writes to the range meanwhile.
/// @throws Error with ENOSPC and nothing changed
void claim_units(const BlockDevice& device, std::uint64_t offset, std::uint64_t length,
                 std::uint64_t unit);

}  // namespace peelfs
