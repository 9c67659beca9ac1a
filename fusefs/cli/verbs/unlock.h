// `peelfs unlock`.
#pragma once

#include <string>

#include "cli/groups/keys.h"
#include "cli/verb.h"

namespace peelfs::cli {

struct UnlockOptions : VerbOptions {
  std::string mountpoint;
  std::string name;  ///< of a locked device; empty: each that is locked
  KeyOptions keys;
};

}  // namespace peelfs::cli
