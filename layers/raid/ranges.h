// Sets of bytes of a device, as sorted runs that neither overlap nor touch.
#pragma once

#include <cstdint>
#include <vector>

namespace peelfs::raid {

struct Range {
  std::uint64_t begin = 0, end = 0;  ///< bytes; begin < end
  bool operator==(const Range&) const = default;
};
using Ranges = std::vector<Range>;

/// Adds a run that begins at or behind the last one's begin.
void append(Ranges& ranges, Range range);
/// Any runs, in any order, as a set.
Ranges normalized(Ranges ranges);
/// The parts within [begin, end), counted from `begin`.
Ranges clipped(const Ranges& ranges, std::uint64_t begin, std::uint64_t end);
/// What of [0, length) is not in it.
Ranges complement(const Ranges& ranges, std::uint64_t length);
Ranges intersection(const Ranges& a, const Ranges& b);
std::uint64_t total(const Ranges& ranges) noexcept;

}  // namespace peelfs::raid
