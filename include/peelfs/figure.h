// Numbers from a disk, for a person.
#pragma once

#include <cstdint>
#include <string>

namespace peelfs {

/// The number, for a message; where it stands for more bytes than any disk has (2^60, an EiB), that
/// it is absurd: its digits tell a person nothing.
/// @param unit bytes that each stands for: 512 for sectors
inline std::string figure(std::uint64_t number, std::uint64_t unit = 1) {
  constexpr std::uint64_t most = std::uint64_t{1} << 60U;
  return number <= most / unit ? std::to_string(number) : "(an absurd number)";
}

}  // namespace peelfs
