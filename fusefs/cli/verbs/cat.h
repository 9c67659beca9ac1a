// `peelfs cat`.
#pragma once

#include <cstdint>
#include <string>

#include "cli/groups/look.h"

namespace peelfs::cli {

struct CatOptions : LookOptions {
  std::string name;    ///< of the device
  bool force = false;  ///< also to a terminal
  std::uint64_t offset = 0;
  std::uint64_t length = UINT64_MAX;
};

}  // namespace peelfs::cli
