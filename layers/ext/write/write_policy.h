// What may be written in an ext filesystem, and why the rest may not.
#pragma once

#include <string>

#include "ext/inode.h"
#include "ext/volume.h"

namespace peelfs::ext {

/// Why no byte of any file may be written, not even in place; "" when it may. A journal that is
/// replayed later puts old blocks back over what was written; a filesystem that was not cleanly
/// unmounted may be mounted now.
/// @param ours whether we ourselves have marked it as not clean
std::string why_no_writes(const Volume& volume, bool ours);

/// Why this file may not be written although others may; "".
std::string why_no_writes(const Inode& inode);

/// Why no space may be allocated; "" when it may. libext2fs writes no journal and keeps no quota.
std::string why_no_allocation(const Volume& volume);

/// As large as the file can become, in bytes.
std::uint64_t greatest_size(const Volume& volume, const Inode& inode);

}  // namespace peelfs::ext
