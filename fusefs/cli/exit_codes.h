// Which exit codes of a command mean that it has done its work.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace peelfs::cli {

/// "1", "1,4" or "0-3,8". @throws Error(Fault::usage)
std::set<int> parse_codes(const std::string& text);

/// The program that a command line runs: what stands behind env, nice, timeout and others of their
/// kind, which pass its exit code on. Without directories; "" when that cannot be told.
std::string program_of(const std::vector<std::string>& words);

/// Whether `code` is 0, one of `others`, or, of an fsck, 1: "errors corrected" (fsck(8)).
bool is_success(const std::vector<std::string>& words, int code, const std::set<int>& others);

}  // namespace peelfs::cli
