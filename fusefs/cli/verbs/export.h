// `peelfs export`.
#pragma once

#include <string>

#include "cli/groups/look.h"
#include "peel/copy.h"

namespace peelfs::cli {

struct ExportOptions : LookOptions {
  std::string name;    ///< of the device
  std::string output;  ///< FILE; "-": standard output
  std::string map_file;
  bool force = false;
  bool resume = false;
  bool stop_on_error = false;
  Sparse sparse = Sparse::automatic;
};

}  // namespace peelfs::cli
