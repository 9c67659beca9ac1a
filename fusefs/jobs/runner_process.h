// What runs beside `try`: a process that waits for its orders, the first process of the command's
// world, and the command.
#pragma once

#include <sys/types.h>

#include <set>

#include "mount/process.h"

namespace peelfs::jobs {

/// What these processes report, one letter each, a text behind it.
namespace report {
inline constexpr char kNotFound = '?';
inline constexpr char kNotRunnable = '!';  ///< and why
inline constexpr char kNoWorld = 'W';      ///< and why: nothing was run
inline constexpr char kOutside = 'N';      ///< and why: it runs among the host's devices
inline constexpr char kLeftRunning = 'K';
}  // namespace report

/// Receives an Order from `orders` and carries it out; ends with the command's exit code.
/// @param parent it must not outlive this process @param withheld see Runner
[[noreturn]] void carry_out(pid_t parent, UniqueFd orders, UniqueFd report,
                            const std::set<int>& withheld);

}  // namespace peelfs::jobs
