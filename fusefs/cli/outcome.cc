#include "cli/outcome.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "cli/commit.h"
#include "cli/interrupt.h"
#include "cli/text.h"
#include "cli/workplace.h"
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

Outcome ask(bool may_commit, const std::string& overlays) {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDERR_FILENO) == 0) return Outcome::keep;
  say("peelfs: until you decide they are in " + shown(overlays));
  for (;;) {
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
    char* line = nullptr;
    std::size_t room = 0;
    const ssize_t got = ::getline(&line, &room, stdin);
    const std::string answer(line == nullptr || got <= 0 ? "" : line);
    std::free(line);
    if (got <= 0) return Outcome::keep;
    if (answer[0] == 'd') return Outcome::drop;
    if (answer[0] == 'k') return Outcome::keep;
    if (answer[0] == 'c' && may_commit) return Outcome::commit;
  }
}

bool is_checker(const std::string& program) {
  return std::filesystem::path(program).filename().string().find("fsck") != std::string::npos;
}

}  // namespace

void say(const std::string& text) {
  std::fputs((text + "\n").c_str(), stderr);
}

Outcome decide(const Command& command, const std::string& overlays, int code, int ended) {
  const bool good = code == 0 || (code == 1 && is_checker(command.command_line.front()));
  Outcome outcome = command.outcome;
  if (outcome == Outcome::ask) outcome = ended != 0 ? Outcome::keep : ask(good, overlays);
  if (outcome == Outcome::commit && !good) {
    warn("not committed: the command has ended with " + std::to_string(code));
    return Outcome::keep;
  }
  return outcome;
}

void conclude(const Command& command, const std::string& overlays, Outcome outcome) {
  switch (outcome) {
    case Outcome::commit:
      commit_overlays(commit_request(command.from, overlays), command.quiet, true);
      ::rmdir(overlays.c_str());
      break;
    case Outcome::drop:
      remove_overlays(overlays);
      say("peelfs: the changes are dropped; the sources are as they were");
      break;
    default:
      explain_kept(command, overlays);
  }
}

void explain_kept(const Command& command, const std::string& overlays) {
  std::vector<std::string> sources;
  for (const std::string& source : command.from.sources) {
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

void keep_what_was_written(const Command& command, const std::string& overlays) {
  try {
    const auto paths = overlay::overlays_in(overlays);
    if (command.keep.empty() && std::none_of(paths.begin(), paths.end(), overlay::holds_changes)) {
      return remove_overlays(overlays);
    }
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): then they stay
  }
  explain_kept(command, overlays);
}

}  // namespace peelfs::cli
