#include "cli/held_overlays.h"

#include <cerrno>
#include <string_view>
#include <utility>

#include "host/image_lock.h"
#include "host/source.h"
#include "overlay/commit.h"
#include "overlay/cover.h"
#include "overlay/disks.h"
#include "overlay/own_file.h"
#include "peelfs/shell.h"

namespace peelfs::cli {
namespace {

HeldOverlay hold(const std::string& path) {
  HeldOverlay held{path, overlay::open_overlay_file(path, HostFile::Access::read_write), nullptr};
  held.image = make_storage_device(held.file);
  lock_image(*held.file, ImageUse::written);
  return held;
}

}  // namespace

std::vector<HeldOverlay> hold_all(const OverlayOptions& options,
                                  const std::vector<std::string>& sources) {
  std::vector<std::string> paths;
  if (sources.empty()) {
    paths = overlay::overlays_in(options.directory);
    if (paths.empty()) {
      throw Error(Fault::missing, "no overlay of peelfs is in " + options.directory)
          .expected("DIR/NAME.qcow2, as 'peelfs -o overlay=DIR' makes them");
    }
  } else {
    std::vector<SourceSpec> specs;
    specs.reserve(sources.size());
    for (const std::string& source : sources) specs.push_back(parse_source(source));
    const OpenedSources opened = overlay::open_disks(specs, {});
    if (!opened.failures.empty()) throw Error(opened.failures.front().error);
    for (const auto& path : overlay::overlay_paths(opened.sources, options.directory)) {
      if (!overlay::is_overlay(path)) {
        throw Error(Fault::missing, "there is no overlay of peelfs at " + path);
      }
      paths.push_back(path);
    }
  }
  overlay::require_own(options.directory, paths, options.accept_shared);
  std::vector<HeldOverlay> held;
  held.reserve(paths.size());
  for (const std::string& path : paths) held.push_back(hold(path));
  return held;
}

std::vector<std::string> paths_of(const std::vector<HeldOverlay>& overlays) {
  std::vector<std::string> paths;
  paths.reserve(overlays.size());
  for (const HeldOverlay& overlay : overlays) paths.push_back(overlay.path);
  return paths;
}

void refuse_committing(const std::vector<HeldOverlay>& overlays, const std::string& more) {
  for (const HeldOverlay& overlay : overlays) {
    if (!overlay::is_committing(*overlay.image)) continue;
    throw Error(Fault::denied, overlay.path + " is half committed")
        .found("a commit that was interrupted: its source is neither old nor new")
        .advice("finish it: " +
                overlay::finish_command({overlay.path}, {overlay::argument_for(overlay.path)}) +
                more)
        .with_errno(EBUSY);
  }
}

Error only_a_part(const std::vector<overlay::LeftOut>& torn, const std::string& what,
                  const std::vector<std::string>& whole) {
  return Error(Fault::denied, "only a part of what was written together would be " + what)
      .found(overlay::describe(torn) + " left out")
      .advice(overlay::how_to_complete(torn, shell_line(whole)));
}

bool has_snapshot(const HeldOverlay& overlay, const std::string& name) {
  for (const qcow2::SnapshotInfo& snapshot : qcow2::list_snapshots(*overlay.image)) {
    if (snapshot.name == name) return true;
  }
  return false;
}

std::vector<qcow2::SnapshotChange> prepared(Prepare& prepare,
                                            const std::vector<HeldOverlay>& overlays,
                                            const std::string& name) {
  std::vector<qcow2::SnapshotChange> changes;
  for (const HeldOverlay& overlay : overlays) {
    try {
      changes.push_back(prepare(overlay.image, name));
    } catch (Error& error) {
      const bool named =
          std::string_view(error.what()).find(overlay.path) != std::string_view::npos;
      error.add_context(named ? "nothing is changed" : overlay.path + "; nothing is changed");
      throw;
    }
  }
  return changes;
}

}  // namespace peelfs::cli
