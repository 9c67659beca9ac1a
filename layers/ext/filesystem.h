// An ext2/3/4 filesystem as the rest of peelfs sees it.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "ext/volume.h"
#include "peelfs/filesystem.h"

namespace peelfs::ext {

/// It has names, owners and free space. Extended attributes are not told: libext2fs allocates as
/// much for one as the disk says.
std::shared_ptr<const Filesystem> make_filesystem(std::shared_ptr<const Volume> volume);

/// Filesystem::free_space(). Block bitmaps are read group by group, and not kept.
std::optional<Error> visit_free_space(const std::shared_ptr<const Volume>& volume,
                                      const std::function<bool(const ByteRange&)>& visit);

}  // namespace peelfs::ext
