// Bytes that only a device itself can produce or accept: whole granules in place, ends through a
// buffer, under the locks of its ranges.
#pragma once

#include <cstdint>

#include "peelfs/block_device.h"

namespace peelfs {

/// compute() on any range.
void read_computed(const BlockDevice& device, std::uint64_t offset, MutableBytes out);

/// store() on any range: reads what else is in a granule first.
void write_computed(const BlockDevice& device, std::uint64_t offset, Bytes data);

/// store_zeroes() on any range.
void zero_computed(const BlockDevice& device, std::uint64_t offset, std::uint64_t length,
                   WriteKind kind);

}  // namespace peelfs
