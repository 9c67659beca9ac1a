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
#include "cli/interrupt.h"
#include "cli/next_command.h"
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

}  // namespace

void say(const std::string& text) {
  std::fputs((text + "\n").c_str(), stderr);
}

namespace {

/// Before the first byte of a source is written. A person whose machine stops in the middle has to
/// know where the other half is.
void announce_commit(const Written& written) {
  std::vector<std::string> line{"peelfs", "commit", "--overlay", written.overlays};
  const std::vector<std::string> words = source_words(written.from);
  line.insert(line.end(), words.begin(), words.end());
  say("peelfs: committing; if that is interrupted, this finishes it:\n  " + shell_line(line));
}

}  // namespace

overlay::CommitRequest commit_request_of(const Written& written) {
  overlay::CommitRequest request =
      commit_request(written.from.sources, written.from.allow_references, written.from.directives,
                     written.overlays);
  request.accept_shared = written.accept_shared;
  return request;
}

bool can_ask() {
  return ::isatty(STDIN_FILENO) != 0 && ::isatty(STDERR_FILENO) != 0;
}

Outcome ask(const Question& question) {
  if (!can_ask()) return Outcome::keep;
  const std::string letters = std::string("[") + (question.may_commit ? "c/" : "") + "d/k" +
                              (question.details ? "/s" : "") + "] ";
  for (;;) {
    forget_what_was_typed();
    std::fputs((question.text + " " + letters).c_str(), stderr);
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
    const auto is = [&](const std::string& word) {
      return *answer == word || *answer == word.substr(0, 1);
    };
    if (is("drop")) return Outcome::drop;
    if (is("keep")) return Outcome::keep;
    if (question.may_commit && is("commit")) return Outcome::commit;
    if (question.details && is("show")) {
      question.details();
      continue;
    }
    say("peelfs: '" + shown(*answer) + "' is none of the answers: a word (" +
        (question.may_commit ? "commit, " : "") + "drop, keep" +
        (question.details ? ", show" : "") + "), or its first letter alone");
  }
}

void conclude(const Written& written, Outcome outcome) {
  switch (outcome) {
    case Outcome::commit:
      if (written.own) announce_commit(written);
      try {
        commit_overlays(commit_request_of(written), written.quiet, true);
      } catch (const Error&) {
        explain_kept(written);
        throw;
      }
      jobs::remove_if_empty(written.overlays);
      break;
    case Outcome::drop:
      jobs::remove_overlays(written.overlays);
      say("peelfs: the changes are dropped; the sources are as they were");
      break;
    default:
      explain_kept(written);
  }
}

void explain_kept(const Written& written) {
  std::string text = "peelfs: the changes are kept in " + shown(written.overlays) + ". What next:";
  for (const std::string verb : {"diff", "commit", "drop"}) {
    std::vector<std::string> line{"peelfs", verb, "--overlay", written.overlays};
    if (verb != "drop" && written.accept_shared) line.emplace_back("--accept-shared");
    const std::vector<std::string> words =
        verb == "diff" ? look_words(written.from) : source_words(written.from);
    if (verb != "drop") line.insert(line.end(), words.begin(), words.end());
    text += "\n  " + shell_line(line);
  }
  say(text);
}

void keep_what_was_written(const Written& written) {
  try {
    const auto paths = overlay::overlays_in(written.overlays);
    if (std::none_of(paths.begin(), paths.end(), overlay::holds_changes)) {
      if (written.own) jobs::remove_overlays(written.overlays);
      return;
    }
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): then they stay
  }
  explain_kept(written);
}

}  // namespace peelfs::cli
