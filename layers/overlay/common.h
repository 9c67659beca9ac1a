// Which sources have something in common that is written as one: a volume group, an array, a
// filesystem on several devices or with its journal on another.
#pragma once

#include <cstddef>
#include <vector>

#include "scan/scanner.h"

namespace peelfs::overlay {

/// The sources that hang together, by their places among the tree's roots, sorted; one that has
/// nothing in common with any other is in none.
/// Arrays that are not opened, and filesystems, are known by the UUID that their members share, so
/// that two copies of one are taken for one: better too many than half of a change. Copies of a
/// volume group are told apart.
std::vector<std::vector<std::size_t>> common_sources(const Tree& tree);

}  // namespace peelfs::overlay
