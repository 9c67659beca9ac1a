// What a mount says of what it shows, before it leaves the terminal.
#pragma once

#include "cli/verbs/mount.h"
#include "peel/peeling.h"

namespace peelfs::cli {

/// Says how to unlock what is locked, where a mount that can be written ends that things can be,
/// and which originals its tools can see. Adds to what is unmet the names in -o writable= that fit
/// nothing.
void note_for_mount(const MountVerbOptions& options, Peeling& peeling);

}  // namespace peelfs::cli
