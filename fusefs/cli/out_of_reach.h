// What the command of `peelfs try` must not get at: the sources, and the keys.
#pragma once

#include <set>

#include "cli/verbs/try.h"
#include "world/host_files.h"
#include "world/world.h"

namespace peelfs::cli {

/// Keeps the sources, and all that they take bytes from, out of the command's reach.
world::HostFiles protect_originals(const TryOptions& options, world::Plan& plan);

/// Says that the command does not get these of descriptors 0 to 2, which lead to the originals, or
/// to an overlay, past the world's paths; and lets no message of ours be written there.
void withhold(const TryOptions& options, const std::set<int>& found);

/// The sources as they are named: before anything is opened, or said.
world::HostFiles named_files(const TryOptions& options);

/// Those of descriptors 0 to 2 that a key is read from. A terminal keeps nothing of it.
std::set<int> key_descriptors(const TryOptions& options);

}  // namespace peelfs::cli
