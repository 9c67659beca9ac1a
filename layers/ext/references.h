// What a disk image inside an ext filesystem may name: files of the same filesystem.
#pragma once

#include <memory>
#include <vector>

#include "ext/volume.h"
#include "peelfs/layer.h"

namespace peelfs::ext {

/// Relative names are looked for in `directory`; absolute ones below the place that the filesystem
/// was last mounted on (its super block says so) if they begin with it, and then from its root.
/// Symbolic links are followed inside the filesystem; nothing ever leads to the host. Thread-safe.
/// @param directory inodes from the root down to where the image lies
std::shared_ptr<const References> make_references(std::shared_ptr<const Volume> volume,
                                                  std::vector<std::uint32_t> directory);

}  // namespace peelfs::ext
