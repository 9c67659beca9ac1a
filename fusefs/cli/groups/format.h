// Output for programs: --json.
#pragma once

#include "cli/parser.h"

namespace peelfs::cli {

inline void bind_json(Parser& parser, bool& json) {
  parser.flag("--json,-J", json);
}

}  // namespace peelfs::cli
