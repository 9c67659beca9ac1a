// `peelfs commit`, `drop`, `checkpoint`, `revert`: what becomes of an overlay that is not mounted.
#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "cli/commit.h"
#include "cli/interrupt.h"
#include "cli/named_twice.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cli/workplace.h"
#include "host/folder.h"
#include "host/image_lock.h"
#include "host/source.h"
#include "overlay/commit.h"
#include "overlay/cover.h"
#include "overlay/disks.h"
#include "overlay/own_file.h"
#include "overlay/set.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"
#include "qcow2/overlay.h"

namespace peelfs::cli {
namespace {

namespace fs = std::filesystem;

/// An overlay that nobody else has open as long as this lives.
struct HeldOverlay {
  std::string path;
  std::shared_ptr<const HostFile> file;
  DevicePtr image;
};

HeldOverlay hold(const std::string& path) {
  HeldOverlay held{path, overlay::open_overlay_file(path, HostFile::Access::read_write), nullptr};
  held.image = make_storage_device(held.file);
  lock_image(*held.file, ImageUse::written);
  return held;
}

/// All overlays in the directory, or those of the sources, held.
std::vector<HeldOverlay> hold_all(const Command& command) {
  std::vector<std::string> paths;
  if (command.from.sources.empty()) {
    paths = overlay::overlays_in(command.from.overlay);
    if (paths.empty()) {
      throw Error(Fault::missing, "no overlay of peelfs is in " + command.from.overlay)
          .expected("DIR/NAME.qcow2, as 'peelfs -o overlay=DIR' makes them");
    }
  } else {
    std::vector<SourceSpec> specs;
    for (const std::string& source : command.from.sources) specs.push_back(parse_source(source));
    const OpenedSources opened = overlay::open_disks(specs, {});
    if (!opened.failures.empty()) throw Error(opened.failures.front().error);
    for (const auto& path : overlay::overlay_paths(opened.sources, command.from.overlay)) {
      if (!overlay::is_overlay(path)) {
        throw Error(Fault::missing, "there is no overlay of peelfs at " + path);
      }
      paths.push_back(path);
    }
  }
  overlay::require_own(command.from.overlay, paths, command.from.accept_shared);
  std::vector<HeldOverlay> held;
  for (const std::string& path : paths) held.push_back(hold(path));
  return held;
}

/// @param more what else can be done
void refuse_committing(const std::vector<HeldOverlay>& overlays, const std::string& more = "") {
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

std::vector<std::string> paths_of(const std::vector<HeldOverlay>& overlays) {
  std::vector<std::string> paths;
  for (const HeldOverlay& overlay : overlays) paths.push_back(overlay.path);
  return paths;
}

/// Refuses what would leave one half of what was written together as it is, and not the other.
void refuse_part(const Command& command, const std::vector<HeldOverlay>& overlays,
                 const std::string& what) {
  if (command.from.accept_part) return;
  const auto torn = overlay::torn_off(command.from.overlay, paths_of(overlays));
  if (torn.empty()) return;
  std::vector<std::string> line{"peelfs", std::string(verb_name(command.verb)), "--overlay",
                                command.from.overlay};
  if (command.verb == Verb::revert) {
    line.push_back(command.checkpoint);
  } else {
    const auto sources = overlay::with_left_out(command.from.sources, torn);
    line.insert(line.end(), sources.begin(), sources.end());
  }
  throw Error(Fault::denied, "only a part of what was written together would be " + what)
      .found(overlay::describe(torn) + " left out")
      .advice(overlay::how_to_complete(torn, shell_line(line)));
}

void warn_of_part(const Command& command, const std::vector<HeldOverlay>& overlays) {
  if (command.quiet) return;
  const auto torn = overlay::torn_off(command.from.overlay, paths_of(overlays));
  if (!torn.empty()) {
    warn("the checkpoint is only of a part of what was written together, without " +
         overlay::describe(torn));
  }
}

bool has_snapshot(const HeldOverlay& overlay, const std::string& name) {
  for (const qcow2::SnapshotInfo& snapshot : qcow2::list_snapshots(*overlay.image)) {
    if (snapshot.name == name) return true;
  }
  return false;
}

using Prepare = qcow2::SnapshotChange(const DevicePtr&, const std::string&);

/// Takes the space for a change of all overlays; nothing is changed when there is none.
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

std::string date_text(std::uint64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  char text[64];
  if (::localtime_r(&time, &parts) == nullptr) return std::to_string(seconds);
  text[std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts)] = '\0';
  return text;
}

int list_checkpoints(const std::vector<HeldOverlay>& overlays) {
  for (const HeldOverlay& overlay : overlays) {
    for (const qcow2::SnapshotInfo& snapshot : qcow2::list_snapshots(*overlay.image)) {
      put(date_text(snapshot.date_seconds) + "  " + shown(snapshot.name) + "  " +
          shown(overlay.path) + "\n");
    }
  }
  finish_output();
  return exit_code::ok;
}

/// The files besides the source that a commit writes, and those that it only reads.
void say_what_is_written(const std::vector<overlay::Announcement>& all) {
  for (const overlay::Announcement& one : all) {
    for (const HostPart& part : one.host_parts) {
      const std::string what = part.file->writable()
                                   ? " will be written, too: it is the " + part.role + " of "
                                   : " is only read: it is a " + part.role + " of ";
      std::fputs((shown(part.path) + what + shown(one.source) + "\n").c_str(), stderr);
    }
  }
}

std::string committed_line(const overlay::Committed& one, const std::string& directory) {
  if (one.overlay.empty()) {
    return shown(one.source) + ": no overlay in " + shown(directory) + ", left as it is\n";
  }
  return shown(one.source) + ": " + human_size(one.data) + " written, " + human_size(one.zeroes) +
         " made zero" + (one.grown == 0 ? "" : ", made " + human_size(one.grown) + " larger") +
         ", verified; " + shown(one.overlay) + " is removed" +
         (one.snapshots == 0 ? ""
                             : " with " + std::to_string(one.snapshots) + " internal snapshot" +
                                   (one.snapshots == 1 ? "" : "s")) +
         (one.resumed ? " (an interrupted commit was finished)" : "") + "\n";
}

}  // namespace

overlay::CommitRequest commit_request(const SourceOptions& from, const std::string& directory) {
  overlay::CommitRequest request;
  for (const std::string& source : from.sources) request.sources.push_back(parse_source(source));
  request.allow_references = from.allow_references;
  request.directory = directory;
  request.accept_source = from.accept_source;
  request.accept_shared = from.accept_shared;
  request.accept_part = from.accept_part;
  request.grow = from.grow;
  request.drop_snapshots = from.drop_snapshots;
  return request;
}

void commit_overlays(overlay::CommitRequest request, bool quiet, bool to_errors) {
  std::optional<Progress> bar;
  std::string stage;
  request.progress = [&](const std::string& what, std::uint64_t done, std::uint64_t total) {
    if (what != stage) {
      bar.reset();
      bar.emplace(shown(what), total, !quiet);
      stage = what;
    }
    bar->update(done);
    Interruptible::check();
  };
  if (!quiet) request.announce = say_what_is_written;
  std::vector<overlay::Committed> committed;
  refuse_twice(request.sources);
  committed = overlay::commit(request);
  bar.reset();
  if (quiet) return;
  for (const overlay::Committed& one : committed) {
    const std::string line = committed_line(one, request.directory);
    if (to_errors) {
      std::fputs(line.c_str(), stderr);
    } else {
      put(line);
    }
  }
}

int run_commit(const Command& command) {
  const Interruptible interruptible;
  try {
    commit_overlays(commit_request(command.from, command.from.overlay), command.quiet, false);
    remove_if_empty(command.from.overlay);
  } catch (const Error& error) {
    if (Interruptible::signal() == 0) throw;
    Interruptible::obey(error);
  }
  finish_output();
  return exit_code::ok;
}

int run_drop(const Command& command) {
  const std::vector<HeldOverlay> overlays = hold_all(command);
  if (!command.from.half_committed) {
    refuse_committing(overlays,
                      "; if the source is to stay as it is now, or comes from a backup, say "
                      "--half-committed");
  }
  // All that are there: what is gone is gone, and nothing is torn that was not before.
  if (!command.from.sources.empty()) {
    refuse_part(command, overlays, "dropped");
    overlay::part(command.from.overlay, paths_of(overlays));
  }
  for (const HeldOverlay& overlay : overlays) {
    remove_file(overlay.path);
    if (!command.quiet) put(shown(overlay.path) + " is removed\n");
  }
  remove_if_empty(command.from.overlay);
  finish_output();
  return exit_code::ok;
}

int run_checkpoint(const Command& command) {
  const std::vector<HeldOverlay> overlays = hold_all(command);
  if (command.list) return list_checkpoints(overlays);
  refuse_committing(overlays);
  const std::string& name = command.checkpoint;
  for (const HeldOverlay& overlay : overlays) {
    if (!has_snapshot(overlay, name)) continue;
    throw Error(Fault::usage,
                "there is a checkpoint '" + name + "' in " + overlay.path + " already")
        .advice("take another name; 'peelfs checkpoint --list' shows them")
        .with_errno(EEXIST);
  }
  warn_of_part(command, overlays);
  // All have what they need before the first is changed.
  std::vector<qcow2::SnapshotChange> changes =
      prepared(qcow2::SnapshotChange::create, overlays, name);
  std::size_t done = 0;
  try {
    for (; done < overlays.size(); ++done) changes[done].apply();
  } catch (const Error&) {
    // Half a checkpoint could only be reverted to by half.
    for (std::size_t i = 0; i < done; ++i) qcow2::delete_snapshot(overlays[i].image, name);
    throw;
  }
  for (const HeldOverlay& overlay : overlays) overlay.file->flush();
  return exit_code::ok;
}

int run_revert(const Command& command) {
  const std::vector<HeldOverlay> overlays = hold_all(command);
  refuse_committing(overlays);
  const std::string& name = command.checkpoint;
  for (const HeldOverlay& overlay : overlays) {
    if (has_snapshot(overlay, name)) continue;
    throw Error(Fault::missing, "there is no checkpoint '" + name + "' in " + overlay.path)
        .advice("'peelfs checkpoint --list' shows what there is; nothing is changed");
  }
  refuse_part(command, overlays, "reverted");
  std::vector<qcow2::SnapshotChange> changes =
      prepared(qcow2::SnapshotChange::revert, overlays, name);
  for (std::size_t i = 0; i < overlays.size(); ++i) {
    try {
      changes[i].apply();
      overlays[i].file->flush();
    } catch (Error& error) {
      error.add_context(std::to_string(i) + " of " + std::to_string(overlays.size()) +
                        " overlays are reverted, then");
      throw;
    }
  }
  return exit_code::ok;
}

}  // namespace peelfs::cli
