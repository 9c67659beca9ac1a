// `peelfs help`, and what --help asks for.
#pragma once

#include "cli/verb.h"

namespace peelfs::cli {

struct HelpOptions : VerbOptions {
  const VerbRow* topic = nullptr;  ///< nullptr: the program as a whole
};

}  // namespace peelfs::cli
