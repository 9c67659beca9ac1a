// Where a partition or volume lies, to tell whether it was moved.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "peel/catalog.h"

namespace peelfs {

/// A run of a device's bytes on another device that has a name.
struct PieceOfLayout {
  std::uint64_t at = 0;      ///< bytes, in the device
  std::uint64_t length = 0;  ///< bytes
  std::string on;            ///< flat name
  std::uint64_t offset = 0;  ///< bytes, on that
};

/// In order, neighbours merged. Empty for what is no partition or logical volume, or does not
/// simply lie somewhere: parity, what cannot be read.
std::vector<PieceOfLayout> layout_of(const Catalog& catalog, const Node& node);

/// The part of a device that was moved.
struct Moved {
  std::uint64_t bytes = 0;  ///< 0: nothing
  PieceOfLayout from, to;   ///< the first of it
};
Moved moved_between(const std::vector<PieceOfLayout>& before,
                    const std::vector<PieceOfLayout>& after);

}  // namespace peelfs
