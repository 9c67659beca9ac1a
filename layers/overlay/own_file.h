// Who owns an overlay. In a directory of another user that user may replace a file at any moment,
// and another user's overlay may hold bytes that he wants to get into the source.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "peelfs/host_file.h"

namespace peelfs::overlay {

/// Opens a file in a directory of overlays: a regular one, whose name is not followed if it is a
/// link. Looked at before it is opened, so that no FIFO or device ever is. @throws Error
std::shared_ptr<const HostFile> open_overlay_file(
    const std::string& path, HostFile::Access access = HostFile::Access::read_only);

/// Refuses a directory of overlays, and overlays in it, that belong to neither root nor this user
/// or that a group or all users may write.
/// @param paths of the overlays; what is not there is passed over
/// @param accept_shared the person says that it is meant so @throws Error(Fault::denied)
void require_own(const std::string& directory, const std::vector<std::string>& paths,
                 bool accept_shared);

}  // namespace peelfs::overlay
