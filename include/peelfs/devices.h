// Ready-made devices that several layers describe themselves with.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/error.h"

namespace peelfs {

/// `length` bytes of `lower` from `offset`: a partition, a raw disk. The range must lie inside.
/// @throws Error(Fault::damaged) when it does not
DevicePtr make_slice(DevicePtr lower, std::uint64_t offset, std::uint64_t length,
                     std::string description);

/// One piece of a device made of pieces: `length` bytes that live in `device` from `offset` on, or,
/// with no device, bytes that cannot be read (a missing member), for the reason given to
/// make_concat.
struct Piece {
  DevicePtr device;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

/// Pieces one behind the other: linear mappings. Lookup is a binary search; thousands are fine.
/// @param missing what a read of a piece without a device throws
DevicePtr make_concat(std::vector<Piece> pieces, Error missing, std::string description,
                      std::uint32_t sector_size = 512);

/// `lower`, but it cannot be written through this device. @param reason read_only_reason()
DevicePtr make_read_only(DevicePtr lower, std::string reason);

/// Flushes every device, also when one of them fails; then throws what the first one threw.
void flush_all(std::span<const DevicePtr> devices);

/// A device that is known to exist, with its size, but cannot be read: locked, unsupported. Every
/// read throws `why`.
DevicePtr make_unreadable(std::uint64_t size, Error why, std::string description);

}  // namespace peelfs
