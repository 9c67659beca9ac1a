// `peelfs ls`.
#pragma once

#include "cli/groups/look.h"

namespace peelfs::cli {

struct LsOptions : LookOptions {
  bool json = false;
  bool bytes = false;  ///< sizes in bytes
};

}  // namespace peelfs::cli
