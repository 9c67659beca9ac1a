// A journal of ext3 or ext4 that lies on a device of its own.
#pragma once

#include <optional>
#include <string>

#include "peelfs/block_device.h"

namespace peelfs::ext {

/// The UUID of the external journal of the filesystem on this device, as the superblock says or,
/// where that is lost or names none, a copy of it in one of the first block groups that have one.
/// nullopt when the journal is inside, or there is none, or no ext filesystem. Nothing is verified.
std::optional<std::string> external_journal(const BlockDevice& device);

}  // namespace peelfs::ext
