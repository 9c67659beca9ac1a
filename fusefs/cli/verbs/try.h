// `peelfs try`.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "cli/groups/sources.h"
#include "cli/outcome.h"
#include "cli/verb.h"

namespace peelfs::cli {

struct TryOptions : VerbOptions {
  SourceOptions from;
  bool accept_shared = false;             ///< --accept-shared, of --keep DIR
  std::string name;                       ///< of the device
  Outcome outcome = Outcome::ask;         ///< --commit, --drop, --keep
  std::string keep;                       ///< --keep DIR
  std::set<int> good_codes;               ///< --ok CODES
  std::vector<std::string> command_line;  ///< what stands behind --
};

}  // namespace peelfs::cli
