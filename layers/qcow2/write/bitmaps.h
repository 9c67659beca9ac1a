// Persistent dirty bitmaps: a write by a program that does not update them makes them untrue.
#pragma once

#include <cstdint>
#include <vector>

#include "peelfs/block_device.h"
#include "qcow2/header.h"

namespace peelfs::qcow2 {

/// Bytes of the image file that belong to bitmaps.
struct BitmapBytes {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

/// What the bitmaps extension, its directory and its tables occupy; empty when there is none.
/// @throws Error(Fault::damaged) when they contradict themselves
std::vector<BitmapBytes> bitmap_bytes(const BlockDevice& file, const Header& header,
                                      std::uint64_t end);

/// Takes the extension out of the header, durably: nothing refers to the bitmaps any more.
void forget_bitmaps(const BlockDevice& file);

}  // namespace peelfs::qcow2
