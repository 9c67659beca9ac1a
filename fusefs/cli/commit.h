// Committing overlays, for `commit` and for `try`.
#pragma once

#include <string>

#include "cli/command.h"
#include "overlay/commit.h"

namespace peelfs::cli {

overlay::CommitRequest commit_request(const SourceOptions& from, const std::string& directory);

/// Commits, with a progress bar, and says what was done.
/// @param to_errors on standard error, not on standard output
/// @throws Error that names the mount which has an overlay or a source open, where that can be
/// known
void commit_overlays(overlay::CommitRequest request, bool quiet, bool to_errors);

}  // namespace peelfs::cli
