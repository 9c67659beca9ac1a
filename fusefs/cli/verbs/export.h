// `peelfs export`.
#pragma once

#include <string>

#include "cli/groups/look.h"
#include "crypto/digest.h"
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
  /// Of the copy; null: SHA-256, where it costs no time.
  const DigestAlgorithm* digest = nullptr;
  bool no_digest = false;
};

}  // namespace peelfs::cli
