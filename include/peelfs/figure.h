// Numbers from a disk, for a person.
#pragma once

#include <cstdint>
#include <string>

#include "peelfs/error.h"

namespace peelfs {

/// The number, for a message; where it stands for more bytes than any disk has (2^60, an EiB), that
/// it is absurd: its digits tell a person nothing.
/// @param unit bytes that each stands for: 512 for sectors
inline std::string figure(std::uint64_t number, std::uint64_t unit = 1) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 60U;
  return number <= kMost / unit ? std::to_string(number) : "(an absurd number)";
}

/// The same in hexadecimal, as offsets are given.
inline std::string hex_figure(std::uint64_t number) {
  return number <= std::uint64_t{1} << 60U ? hex(number) : figure(number);
}

/// The same for how many there are of something, of which at most `most` are possible.
inline std::string count_figure(std::uint64_t number, std::uint64_t most) {
  return number / 16 <= most ? std::to_string(number) : "(an absurd number)";
}

}  // namespace peelfs
