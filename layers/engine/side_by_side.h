// Work on many devices at once: most of the time is spent waiting for disks and networks. Work that
// keeps processors busy is for crew.h.
#pragma once

#include <cstddef>
#include <functional>

namespace peelfs {

/// More than there are processors.
inline constexpr std::size_t kMostWorkers = 8;

/// Calls `work` with each number below `count`, in order of the numbers but several at once.
/// @param workers how many threads do it at most, of which the caller's is one; they take no
///   signals. Where the host refuses threads, fewer do
/// @throws what a call threw last; the others are done nevertheless
void side_by_side(std::size_t count, std::size_t workers,
                  const std::function<void(std::size_t)>& work);

}  // namespace peelfs
