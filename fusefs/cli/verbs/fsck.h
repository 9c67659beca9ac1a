// `peelfs fsck`.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "cli/groups/sources.h"
#include "cli/outcome.h"
#include "cli/verb.h"

namespace peelfs::cli {

/// The exit codes of fsck(8), which are bits.
namespace fsck_exit {
inline constexpr int kOk = 0;           ///< nothing is wrong
inline constexpr int kCorrected = 1;    ///< something was, and is corrected
inline constexpr int kErrorsLeft = 4;   ///< something is
inline constexpr int kOperational = 8;  ///< something could not be checked
inline constexpr int kUsage = 16;
inline constexpr int kCancelled = 32;
}  // namespace fsck_exit

struct FsckOptions : VerbOptions {
  SourceOptions from;
  std::chrono::seconds patience{60};
  std::vector<std::string> names;  ///< behind `--`; empty: all
  unsigned jobs = 0;               ///< -j; 0: as many as there are processors
  bool background = false;
  bool repair = false;
  bool in_place = false;           ///< --rw, of --repair
  Outcome outcome = Outcome::ask;  ///< --commit, --drop, --keep, of --repair
  std::string keep;                ///< --keep DIR
  bool only_due = false;           ///< --due
  bool skip_busy = false;          ///< --skip-busy
  bool json = false;
  std::string junit;  ///< --junit FILE
  std::string log;    ///< --log DIR
};

}  // namespace peelfs::cli
