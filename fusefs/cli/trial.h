// One run of `peelfs try`.
#pragma once

#include "cli/verbs/try.h"

namespace peelfs::cli {

/// Runs the command on the device, with an overlay over the sources, and does with the overlay what
/// was said, or what the person answers. Whatever comes, the mount is ended.
/// @return the command's exit code
/// @throws Error when it could not be run, or its changes not be dealt with; also when a signal
/// came
int run_trial(const TryOptions& options);

}  // namespace peelfs::cli
