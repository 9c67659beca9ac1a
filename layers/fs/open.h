// What opening a row with a filesystem comes to: its state, and the disk images in it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "peelfs/filesystem.h"
#include "peelfs/layer.h"

namespace peelfs::fs {

/// The filesystem on a device: of its own row on a device with the same bytes. Reads nothing.
using Mount = std::function<std::shared_ptr<const Filesystem>(DevicePtr)>;

/// Shows the disk images in the filesystem on the only member, as deep as the limits allow, and
/// joins what there is to say of the filesystem and of the search. A filesystem that is there
/// several times (snapshots) is searched once in a run: OpenInput::memory keeps what was found.
/// @param uuid of the filesystem, from its own tables
/// @throws Error(Fault::unsupported) when nothing in it can be listed. Other failures become a
///   trouble, and leave Opened::filesystems
Opened open_filesystem(const Mount& mount, const std::string& uuid, const OpenInput& input);

}  // namespace peelfs::fs
