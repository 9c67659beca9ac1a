// `peelfs hash`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/groups/look.h"
#include "crypto/digest.h"

namespace peelfs::cli {

struct HashVerbOptions : LookOptions {
  std::vector<std::string> names;  ///< of devices; none: all
  bool all = false;                ///< what is in snapshots, and in the named devices, too
  std::vector<const DigestAlgorithm*> algorithms;  ///< none: said by what is done
  bool json = false;
  bool tag = false;
  std::uint64_t piece = 0;  ///< bytes; 0: each device as a whole
  std::string list;         ///< of --check; empty: nothing is checked
  unsigned jobs = 0;        ///< 0: as many as there are processors
};

}  // namespace peelfs::cli
