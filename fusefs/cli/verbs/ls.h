// `peelfs ls`.
#pragma once

#include <string>
#include <vector>

#include "cli/groups/look.h"
#include "cli/style.h"
#include "cli/tree_text.h"

namespace peelfs::cli {

struct LsOptions : LookOptions {
  bool json = false;
  bool bytes = false;  ///< sizes in bytes
  bool more = false;   ///< -l
  bool no_headings = false;
  std::string columns;  ///< -o; empty: the usual ones
  TreeSigns signs = TreeSigns::automatic;
  ColorWhen color = ColorWhen::automatic;
};

}  // namespace peelfs::cli
