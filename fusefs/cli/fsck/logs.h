// What the checkers have written, in files: --log DIR.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "check/fleet.h"
#include "mount/process.h"

namespace peelfs::cli {

/// DIR/SOURCE.DEVICE.log for each target for which a command is run. Only files that such a run has
/// made are overwritten. Not thread-safe.
class FsckLogs {
 public:
  /// @param directory made if only its last part is missing; empty: nothing is written
  /// @throws Error
  FsckLogs(const check::Plan& plan, std::string directory);

  /// Begins the file of a target, or a new part of it.
  void started(std::size_t target, const std::vector<std::string>& words);
  void said(std::size_t target, std::string_view output);
  void finished(std::size_t target);

  /// The path of each target's file; empty where there is none.
  const std::vector<std::string>& paths() const noexcept { return paths_; }
  /// Why a file could not be written: of the first.
  const std::string& failure() const noexcept { return failure_; }

 private:
  std::string name_for(const check::Target& target);
  void write(std::size_t target, std::string_view text);

  const check::Plan& plan_;
  const std::string directory_;
  std::set<std::string> names_;
  std::vector<std::string> paths_;
  std::map<std::size_t, UniqueFd> files_;
  std::string failure_;
};

}  // namespace peelfs::cli
