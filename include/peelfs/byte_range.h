// Runs of bytes of a device, and what they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace peelfs {

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

struct NamedRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::string what;  ///< raw text, as on the disk; empty: they belong to nothing
};

/// Adds a run behind the others; one that touches the last and has its name makes that longer.
inline void append(std::vector<NamedRange>& runs, std::uint64_t begin, std::uint64_t end,
                   const std::string& what) {
  if (!runs.empty() && runs.back().offset + runs.back().length == begin &&
      runs.back().what == what) {
    runs.back().length += end - begin;
  } else {
    runs.push_back({begin, end - begin, what});
  }
}

}  // namespace peelfs
