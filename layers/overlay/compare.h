// What differs between two devices that share most of their storage: a disk and the same disk with
// an overlay. Exact, and reads only where they do not lie in the same place.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "peelfs/block_device.h"

namespace peelfs::overlay {

/// Bytes that differ, in whole 512-byte sectors (less at the end of the device).
struct ChangedRun {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t zeroed = 0;  ///< bytes of it in sectors that are all zero now
  std::uint64_t filled = 0;  ///< bytes of it in sectors that were all zero before
};

struct Comparison {
  std::vector<ChangedRun> runs;  ///< in order, none touching the next
  std::uint64_t changed = 0;     ///< bytes in all
  std::uint64_t zeroed = 0;
  std::uint64_t filled = 0;
  std::uint64_t unreadable = 0;  ///< bytes that could not be compared
  std::string reason;            ///< why, of the first of them

  /// Nothing was written but zeroes: something was wiped, or its space given back.
  bool only_zeroes() const noexcept { return changed != 0 && zeroed == changed; }
};

/// @param progress called now and then with the bytes done; may be empty
/// Bytes beyond the end of the shorter device count as zero there.
Comparison compare_devices(const BlockDevice& before, const BlockDevice& after,
                           const std::function<void(std::uint64_t)>& progress = {});

}  // namespace peelfs::overlay
