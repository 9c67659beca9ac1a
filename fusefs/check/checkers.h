// The table of checkers: for each kind of filesystem the program that checks it, how that is told
// to change nothing, and what its exit code means. A new checker is one row.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "check/verdict.h"

namespace peelfs::check {

struct Checker {
  std::string_view fstype;   ///< as libblkid names it
  std::string_view program;  ///< without directories
  std::string_view package;  ///< of Debian, which has the program
  /// The words behind the program that check and change nothing; {} is the device.
  std::span<const std::string_view> check;
  /// The words that replay its journal and do nothing else; empty: the program cannot.
  std::span<const std::string_view> replay = {};
  /// What came of the check. @param output the first and the last 64 KiB of it, at least
  Verdict (*judge)(int code, std::string_view output) = nullptr;
  /// The words that repair all that its program repairs without asking; never those that give up
  /// data to get through: a log of XFS is not thrown away, no tree of ReiserFS is built anew.
  std::span<const std::string_view> repair = {};
  /// Whether that has done its work: State::repaired, which only says that it has ended well.
  Verdict (*judge_repair)(int code, std::string_view output) = nullptr;
  /// How far the check is, if this line of its output tells; per cent. Null: it never tells.
  std::optional<unsigned> (*percent)(std::string_view line) = nullptr;
  /// What is always true of its verdict, for people; empty: nothing.
  std::string_view caveat = {};
  /// It opens the device for writing, though it changes nothing: it works in an overlay that is
  /// thrown away.
  bool opens_for_writing = false;
  /// Memory that it takes: about this many bytes for each MiB of the filesystem.
  std::uint64_t memory_per_mib = 512;
};

/// @return null: nothing is known that checks this kind
const Checker* checker_of(std::string_view fstype);

/// Kinds that hold no files, and are never checked: swap, members of what is assembled.
bool is_never_checked(std::string_view fstype);

/// The words with the program's path in front and the device's path in the place of {}.
std::vector<std::string> command_line(const std::string& program,
                                      std::span<const std::string_view> words,
                                      const std::string& device);

}  // namespace peelfs::check
