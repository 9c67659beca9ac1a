// What becomes of the changes when the command of `peelfs try` has ended.
#pragma once

#include <string>

#include "cli/verbs/try.h"
#include "overlay/commit.h"

namespace peelfs::cli {

/// A line on standard error: standard output is the command's.
void say(const std::string& text);

/// The commit of what the command has written to the overlays in a directory.
overlay::CommitRequest commit_request_of(const TryOptions& options, const std::string& directory);

/// What was said on the command line, or what the person answers; without a terminal, or after a
/// signal, the changes are kept. Nothing of a command that has failed is committed.
/// @param code the command's @param ended a signal that told peelfs to end; 0: none
Outcome decide(const TryOptions& options, const std::string& overlays, int code, int ended);

/// Commits, drops or keeps the overlays in the directory, and says so.
void conclude(const TryOptions& options, const std::string& overlays, Outcome outcome);

/// What can be done with overlays that are kept.
void explain_kept(const TryOptions& options, const std::string& overlays);

/// The same, unless nothing was written to them: then they go, if the directory is ours.
void keep_what_was_written(const TryOptions& options, const std::string& overlays);

}  // namespace peelfs::cli
