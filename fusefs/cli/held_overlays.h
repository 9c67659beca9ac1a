// Overlays that are not mounted, for the verbs that change them: drop, checkpoint, revert.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/groups/overlay.h"
#include "overlay/set.h"
#include "peelfs/block_device.h"
#include "peelfs/error.h"
#include "peelfs/host_file.h"
#include "qcow2/overlay.h"

namespace peelfs::cli {

/// An overlay that no other process has open as long as this lives.
struct HeldOverlay {
  std::string path;
  std::shared_ptr<const HostFile> file;
  DevicePtr image;
};

/// Those of the sources, held; with no sources named, all that are in the directory.
/// @throws Error when there is none, or one is in use
std::vector<HeldOverlay> hold_all(const OverlayOptions& options,
                                  const std::vector<std::string>& sources);

std::vector<std::string> paths_of(const std::vector<HeldOverlay>& overlays);

/// @param more what else can be done
/// @throws Error when the commit of one was interrupted
void refuse_committing(const std::vector<HeldOverlay>& overlays, const std::string& more = "");

/// That one half of what was written together would stay as it is, and the other not.
/// @param torn what is left out @param what would become of the others: "dropped"
/// @param whole the command that leaves nothing out
Error only_a_part(const std::vector<overlay::LeftOut>& torn, const std::string& what,
                  const std::vector<std::string>& whole);

/// Whether there is a checkpoint of that name.
bool has_snapshot(const HeldOverlay& overlay, const std::string& name);

using Prepare = qcow2::SnapshotChange(const DevicePtr&, const std::string&);

/// Takes the space for a change of all overlays; nothing is changed when there is none.
std::vector<qcow2::SnapshotChange> prepared(Prepare& prepare,
                                            const std::vector<HeldOverlay>& overlays,
                                            const std::string& name);

}  // namespace peelfs::cli
