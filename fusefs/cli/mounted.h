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

/// Refuses a file that is named twice, where that is no mere repetition: it would be locked twice.
/// @throws Error(Fault::usage)
void refuse_twice(const std::vector<SourceSpec>& sources);

/// Runs `body`. An Error with EBUSY that leaves it says, too, which mounts show any of the sources:
/// a process of peelfs hides which files it has open from ordinary users.
/// @param sources paths
void naming_mounts(const std::vector<std::string>& sources, const std::function<void()>& body);
/// The paths in it.
std::vector<std::string> paths_of(const std::vector<SourceSpec>& sources);

}  // namespace peelfs::cli
