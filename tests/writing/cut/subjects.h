// What is mounted and written to in the tests of power cuts and of kill -9.
#pragma once

#include <vector>

#include "writing/cut/explore.h"

namespace peelfs::test {

/// A qcow2 in place, overlays over raw and qcow2, a qcow2 in an ext4 in place and under an overlay.
std::vector<Subject> mounted_subjects();

/// Options and sources of `peelfs mount`, quoted for sh.
std::string mount_arguments(const Disk& disk);

}  // namespace peelfs::test
