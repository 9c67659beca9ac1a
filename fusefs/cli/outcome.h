// What becomes of the changes that commands have made to overlays: for `try`, and for `fsck`.
#pragma once

#include <functional>
#include <string>

#include "cli/groups/sources.h"
#include "overlay/commit.h"

namespace peelfs::cli {

enum class Outcome { ask, commit, drop, keep };

/// Overlays in a directory, and what was said on the command line of the sources below them.
struct Written {
  const SourceOptions& from;  ///< as the person wrote it: the next commands repeat it
  std::string overlays;       ///< the directory
  bool own = true;            ///< peelfs has made it
  bool accept_shared = false;
  bool quiet = false;
};

/// A line on standard error: standard output may be a command's.
void say(const std::string& text);

/// The commit of what was written.
overlay::CommitRequest commit_request_of(const Written& written);

struct Question {
  std::string text;  ///< before the answers, without a blank at the end
  bool may_commit = true;
  /// Shows more, when the person answers so; empty: there is nothing more to show.
  std::function<void()> details;
};

/// Whether there is a person to ask.
bool can_ask();

/// What the person answers; keep, without a person to ask, at the end of the input, or when a
/// signal comes.
Outcome ask(const Question& question);

/// Commits, drops or keeps the overlays, and says so. @param outcome not Outcome::ask
void conclude(const Written& written, Outcome outcome);

/// What can be done with overlays that are kept.
void explain_kept(const Written& written);

/// The same, unless nothing was written to them: then they go, if the directory is ours.
void keep_what_was_written(const Written& written);

}  // namespace peelfs::cli
