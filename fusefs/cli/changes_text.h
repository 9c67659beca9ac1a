// Changes of an overlay on a terminal: for `diff`, and for what `try` tells behind its command.
#pragma once

#include <string>
#include <vector>

#include "peel/changes.h"

namespace peelfs::cli {

/// find_changes() with a bar, if one is wanted; Ctrl-C ends it (see Interruptible::check).
/// @param only flat name; empty: all
std::vector<DeviceChange> find_changes_visibly(const Peeling& before, const Peeling& after,
                                               const std::string& only, bool wants_bar);

/// What differs in one device, in some words: "36K in 9 ranges: 24K inode table, 4.0K super block".
std::string change_line(const DeviceChange& change);

/// @param ranges every range, not only how many there are
/// @param names every name, not the first twenty
void print_changes(const std::vector<DeviceChange>& changes, bool ranges, bool names,
                   std::string& out);
std::string changes_json(const std::vector<DeviceChange>& changes);

}  // namespace peelfs::cli
