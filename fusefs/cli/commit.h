// Committing overlays, for `commit` and for `try`.
#pragma once

#include <string>
#include <vector>

#include "overlay/commit.h"

namespace peelfs::cli {

/// @param sources as parse_source() takes them
overlay::CommitRequest commit_request(const std::vector<std::string>& sources,
                                      const std::vector<std::string>& allow_references,
                                      const std::vector<Directive>& directives,
                                      const std::string& directory);

/// Commits, with a progress bar, and says what was done.
/// @param to_errors on standard error, not on standard output
/// @throws Error that names the mount which has an overlay or a source open, where that can be
/// known
void commit_overlays(overlay::CommitRequest request, bool quiet, bool to_errors);

}  // namespace peelfs::cli
