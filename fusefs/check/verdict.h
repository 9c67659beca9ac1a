// What a check says of one filesystem.
#pragma once

#include <string>
#include <string_view>

namespace peelfs::check {

enum class State {
  clean,      ///< nothing is wrong with it
  replayed,   ///< its journal had to be replayed, and nothing is wrong with it then
  errors,     ///< it is damaged
  repaired,   ///< it was damaged, and is repaired
  skipped,    ///< it could not be looked at, or was not to be: the reason says why
  failed,     ///< its checker did not do its work
  cancelled,  ///< the run was ended before it had a verdict
  listed,     ///< nothing that is ever checked: swap, or what is not known
};

/// "clean", "replayed", ... as the table shows it.
std::string_view state_name(State state);

struct Verdict {
  State state = State::listed;
  std::string why;  ///< one clause for a person; empty: there is nothing to add
};

/// The bits of fsck(8)'s exit status.
namespace fsck_bits {
inline constexpr int kErrorsLeft = 4;
inline constexpr int kOperational = 8;
inline constexpr int kUsage = 16;
inline constexpr int kCancelled = 32;
}  // namespace fsck_bits

}  // namespace peelfs::check
