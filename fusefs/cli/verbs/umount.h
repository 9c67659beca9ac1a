// `peelfs umount`.
#pragma once

#include <string>
#include <vector>

#include "cli/verb.h"
#include "mount/mount.h"

namespace peelfs::cli {

struct UmountOptions : VerbOptions {
  std::vector<std::string> mountpoints;
  UnmountOptions unmount;
};

}  // namespace peelfs::cli
