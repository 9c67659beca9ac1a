#include "cli/outcome.h"

#include <poll.h>
#include <stdio_ext.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "cli/commit.h"
#include "cli/exit_codes.h"
#include "cli/interrupt.h"
#include "cli/text.h"
#include "jobs/workplace.h"
#include "overlay/cover.h"
#include "overlay/set.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs::cli {
namespace {

/// @return false: a signal came instead
bool wait_for_answer() {
  constexpr int kLook = 200;  // milliseconds; one that comes just before poll() is seen then
  pollfd typed{STDIN_FILENO, POLLIN, 0};
  while (Interruptible::signal() == 0) {
    if (::poll(&typed, 1, kLook) > 0) return true;
  }
  return false;
}

/// What was typed while the command ran was meant for the command, and answers nothing.
void forget_what_was_typed() {
  ::tcflush(STDIN_FILENO, TCIFLUSH);
  ::__fpurge(stdin);
}

/// A line from the terminal without its end. @return nullopt at the end of the input
std::optional<std::string> read_line() {
  char* line = nullptr;
  std::size_t room = 0;
  const ssize_t got = ::getline(&line, &room, stdin);
  std::string text(line == nullptr || got <= 0 ? "" : line);
  std::free(line);
  // What stands before the end of the input without a newline was not entered.
  if (!text.ends_with('\n')) return std::nullopt;
  text.pop_back();
  return text;
}

Outcome ask(bool may_commit, const std::string& overlays) {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDERR_FILENO) == 0) return Outcome::keep;
  say("peelfs: until you decide they are in " + shown(overlays));
  for (;;) {
    forget_what_was_typed();
    std::fputs(may_commit ? "Commit these changes into the sources, drop them, or keep them for "
                            "later? [c/d/k] "
                          : "The command has failed. Drop these changes, or keep them for later? "
                            "[d/k] ",
               stderr);
    std::fflush(stderr);
    if (!wait_for_answer()) {
      say("");
      return Outcome::keep;
    }
    const std::optional<std::string> answer = read_line();
    if (!answer) {
      say("");
      return Outcome::keep;
    }
    if (*answer == "d" || *answer == "drop") return Outcome::drop;
    if (*answer == "k" || *answer == "keep") return Outcome::keep;
    if (may_commit && (*answer == "c" || *answer == "commit")) return Outcome::commit;
    say("peelfs: '" + shown(*answer) + "' is none of the answers: a word (" +
        (may_commit ? "commit, " : "") + "drop, keep), or its first letter alone");
  }
}

}  // namespace

void say(const std::string& text) {
  std::fputs((text + "\n").c_str(), stderr);
}

overlay::CommitRequest commit_request_of(const TryOptions& options, const std::string& directory) {
  overlay::CommitRequest request = commit_request(
      options.from.sources, options.from.allow_references, options.from.directives, directory);
  request.accept_shared = options.accept_shared;
  return request;
}

Outcome decide(const TryOptions& options, const std::string& overlays, int code, int ended) {
  const bool good = is_success(options.command_line, code, options.good_codes);
  Outcome outcome = options.outcome;
  if (outcome == Outcome::ask) outcome = ended != 0 ? Outcome::keep : ask(good, overlays);
  if (outcome == Outcome::commit && !good) {
    warn("not committed: the command has ended with " + std::to_string(code) +
         " (--ok CODES says which codes besides 0 are good)");
    return Outcome::keep;
  }
  return outcome;
}

void conclude(const TryOptions& options, const std::string& overlays, Outcome outcome) {
  switch (outcome) {
    case Outcome::commit:
      try {
        commit_overlays(commit_request_of(options, overlays), options.quiet, true);
      } catch (const Error&) {
        explain_kept(options, overlays);
        throw;
      }
      jobs::remove_if_empty(overlays);
      break;
    case Outcome::drop:
      jobs::remove_overlays(overlays);
      say("peelfs: the changes are dropped; the sources are as they were");
      break;
    default:
      explain_kept(options, overlays);
  }
}

void explain_kept(const TryOptions& options, const std::string& overlays) {
  std::vector<std::string> sources;
  for (const std::string& path : options.from.allow_references) {
    sources.insert(sources.end(), {"--allow-reference", path});
  }
  for (const std::string& source : options.from.sources) {
    sources.push_back((source.starts_with('-') ? "./" : "") + source);
  }
  std::string text = "peelfs: the changes are kept in " + shown(overlays) + ". What next:";
  for (const char* const verb : {"diff", "commit", "drop"}) {
    std::vector<std::string> line{"peelfs", verb, "--overlay", overlays};
    if (verb != std::string_view("drop")) line.insert(line.end(), sources.begin(), sources.end());
    text += "\n  " + shell_line(line);
  }
  say(text);
}

void keep_what_was_written(const TryOptions& options, const std::string& overlays) {
  try {
    const auto paths = overlay::overlays_in(overlays);
    if (std::none_of(paths.begin(), paths.end(), overlay::holds_changes)) {
      if (options.keep.empty()) jobs::remove_overlays(overlays);
      return;
    }
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): then they stay
  }
  explain_kept(options, overlays);
}

}  // namespace peelfs::cli
