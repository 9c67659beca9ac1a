// Mounts of peelfs that stand in the way of what is to be done with a source or an overlay.
#pragma once

#include <functional>
#include <vector>

#include "host/source.h"

namespace peelfs::cli {

/// Refuses sources that a mount shows, by what `mount` says of it: a mount that only reads takes no
/// lock, but must not see its source change.
/// @throws Error(Fault::denied) with EBUSY that names the mount
void refuse_mounted(const std::vector<SourceSpec>& sources);

/// Runs `body`. An Error with EBUSY that leaves it says, too, which mounts of peelfs there are: a
/// process of peelfs hides which files it has open from ordinary users.
void naming_mounts(const std::function<void()>& body);

}  // namespace peelfs::cli
