// A mirror that is written to: every byte goes to all of its legs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "peelfs/devices.h"

namespace peelfs::raid {

/// Bytes that say "the legs may differ" while they are on the disk: the kernel makes the legs equal
/// when it next activates the mirror. They are written before the first write to a leg, and taken
/// back when the legs are equal again.
struct Mark {
  DevicePtr device;
  std::uint64_t offset = 0;
  Buffer clean, differs;  ///< of one length
};

/// Reads come from the first leg; writes have reached every leg when they return. The marks are
/// durable before the first write. They are taken back by a flush after which nothing was written,
/// and at the end; never after a write that failed.
/// @param legs in sync, wholly readable and writable, of one length
DevicePtr make_mirror(std::vector<Piece> legs, std::vector<Mark> marks, std::string description);

}  // namespace peelfs::raid
