// A verb of the command line, as a row of the table of verbs: all that there is to know of it.
//
// A new verb is one file, verbs/NAME.cc, with its struct of options, its help, its functions and
// its row, and the name of that row in verb_table.cc. What it shares with other verbs (sources and
// keys, overlays, a timeout, --json) is in groups/: each group has one struct, one binding and one
// text. The manual, the completion and README.md name the verb, too.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/parser.h"

namespace peelfs::cli {

/// Exit codes of every verb except mount, which has those of mount(8), fsck, which has those of
/// fsck(8), and try, which passes that of its command on and has 125 to 127 of its own, as env(1).
namespace exit_code {
inline constexpr int kOk = 0;          ///< everything asked for was done
inline constexpr int kIncomplete = 1;  ///< done, but something in it is missing or damaged
inline constexpr int kNothing = 2;     ///< nothing done: wrong usage, no source, no such device
}  // namespace exit_code

/// Which exit code a verb has that fails: one of those above, or one of mount(8)'s, try's
/// (jobs/runner.h) or fsck(8)'s.
enum class FailureCodes { usual, of_mount, of_try, of_fsck };

/// What a command line says to a verb. Each verb derives a struct of its own with what it takes.
struct VerbOptions {
  bool verbose = false;  ///< -v, of every verb
  bool quiet = false;    ///< -q, of every verb

  virtual ~VerbOptions() = default;
};

/// What a verb does with its options. Made by actions_of(), which knows their type.
struct VerbActions {
  std::unique_ptr<VerbOptions> (*make)() = nullptr;
  /// Binds the verb's own options; -h, -V, -v and -q are bound before.
  void (*bind)(Parser& parser, VerbOptions& options) = nullptr;
  /// Puts the words that are no options where they belong: sources, a device, a directory
  /// (operands.h). @throws Error(Fault::usage) that says what is missing, or too much
  void (*take)(VerbOptions& options, std::vector<std::string> operands) = nullptr;
  /// Looks at the whole before anything is opened. @throws Error(Fault::usage) where options and
  /// operands make no sense together
  void (*check)(const VerbOptions& options) = nullptr;
  /// @return an exit code. Failures that end the verb leave as Error.
  int (*run)(const VerbOptions& options) = nullptr;
};

struct VerbRow {
  std::string_view word;  ///< "ls"
  /// Its line in the program's help, with its operands; empty: another verb's line names it.
  const char* line = "";
  /// The text of its --help, in pieces: the options that it shares with others are theirs.
  /// Empty: that of the program.
  std::span<const char* const> help{};
  FailureCodes failures = FailureCodes::usual;
  VerbActions actions{};
};

template <typename Options>
void no_check(const Options& /*options*/) {}

/// The actions of a verb, written for its own struct of options.
template <typename Options, void (*Bind)(Parser&, Options&),
          void (*Take)(Options&, std::vector<std::string>), int (*Run)(const Options&),
          void (*Check)(const Options&) = no_check<Options>>
constexpr VerbActions actions_of() {
  return {
      .make = []() -> std::unique_ptr<VerbOptions> { return std::make_unique<Options>(); },
      .bind = [](Parser& parser,
                 VerbOptions& options) { Bind(parser, static_cast<Options&>(options)); },
      .take =
          [](VerbOptions& options, std::vector<std::string> operands) {
            Take(static_cast<Options&>(options), std::move(operands));
          },
      .check = [](const VerbOptions& options) { Check(static_cast<const Options&>(options)); },
      .run = [](const VerbOptions& options) { return Run(static_cast<const Options&>(options)); },
  };
}

}  // namespace peelfs::cli
