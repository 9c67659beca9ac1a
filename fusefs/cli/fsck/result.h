// A run of `peelfs fsck` that has ended, for what tells of it: the table, JSON, JUnit.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "check/fleet.h"

namespace peelfs::cli {

struct FsckResult {
  const check::Plan& plan;
  const std::vector<check::Outcome>& outcomes;  ///< of each of the plan's targets
  const std::vector<std::string>& logs;         ///< paths, empty ones where there is none
  std::vector<std::string> warnings;            ///< sources that could not be opened, and more
  bool complete = true;  ///< every source was opened, and all that was asked for was done
  int exit_code = 0;
};

/// "vm1.qcow2", "a.img +2": the sources of a target.
std::string source_of(const check::Target& target);

/// The table, and below it what there is to say of each.
void print_table(const FsckResult& result);

/// One JSON document.
std::string json_of(const FsckResult& result);

inline constexpr std::string_view kJunitBegins =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n";

/// JUnit's XML: a suite for each source, a case for each filesystem.
std::string junit_of(const FsckResult& result);

}  // namespace peelfs::cli
