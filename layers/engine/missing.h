// What is known to be gone: the part of a partition behind the end of a truncated image, an extent
// on a physical volume that is not there, what a table of an image described that cannot be read or
// followed. A read says so for one piece at a time. Commands that go through a whole device (map,
// export) need one answer for the whole range, because it may have any size.
#pragma once

#include <cstdint>

#include "peelfs/block_device.h"

namespace peelfs {

/// Mixed into a device of which parts are missing: map() throws there.
class PartlyMissing {
 public:
  virtual ~PartlyMissing() = default;
  /// @param offset, length a range of the device, as for map()
  /// @return how many of its first bytes are known to be missing, 0 to `length`
  virtual std::uint64_t missing(std::uint64_t offset, std::uint64_t length) const = 0;
};

struct Presence {
  bool missing = false;      ///< known to be so; false: it may be there, or it cannot be told
  std::uint64_t length = 0;  ///< bytes of which that is true, 1 to what was asked for
};

/// Whether the bytes at `offset` are missing: through all layers, also those that compute.
/// @param offset, length a range of the device, not empty
/// Reads nothing but tables. Never fails: damaged tables say nothing, unless their layer can tell
/// exactly which bytes they take away. Thread-safe.
Presence presence(const BlockDevice& device, std::uint64_t offset, std::uint64_t length);

}  // namespace peelfs
