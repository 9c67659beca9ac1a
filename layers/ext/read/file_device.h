// A file of an ext filesystem as a block device.
#pragma once

#include <memory>
#include <string>

#include "ext/inode.h"
#include "ext/library.h"
#include "ext/volume.h"

namespace peelfs::ext {

/// The bytes of a regular file, a directory or a symbolic link, 0 to inode.size. Blocks live in the
/// volume's device; holes and unwritten extents are zeroes. Nothing is read here: damage in block
/// maps shows when the range that needs them is mapped.
/// @param library only used for inline data; not kept
/// @param description "file /images/os43.qcow2"
/// @throws Error(Fault::unsupported) for an encrypted or compressed file, and what reading inline
///   data throws
DevicePtr make_file(Library& library, const Inode& inode, std::string description);

}  // namespace peelfs::ext
