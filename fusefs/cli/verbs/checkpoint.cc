// `peelfs checkpoint`: keeps a state of overlays that can be come back to.
#include <array>
#include <cerrno>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "cli/held_overlays.h"
#include "cli/operands.h"
#include "cli/text.h"
#include "cli/values.h"
#include "cli/verb.h"

namespace peelfs::cli {
namespace {

struct CheckpointOptions : VerbOptions {
  OverlayOptions overlay;
  std::string name;   ///< of the checkpoint
  bool list = false;  ///< the checkpoints there are; none is made
};

constexpr const char* kBefore = R"(peelfs checkpoint --overlay DIR NAME
peelfs checkpoint --overlay DIR --list

Keeps the present state of all overlays in DIR under NAME, for 'peelfs revert'. It is an
internal snapshot of each qcow2 image ('qemu-img snapshot -l' shows it). They must not
be mounted.

  --list                  the checkpoints there are, oldest first of each overlay
)";
constexpr const char* kAfter = R"(
Exit status: 0 done; 2 not, and then no overlay has a new checkpoint; where there was no
space for it, none has changed at all.

Example:
  peelfs checkpoint --overlay changes before-repair
)";
constexpr std::array<const char*, 3> kHelp{kBefore, kAcceptSharedDirHelp, kAfter};

void bind(Parser& parser, CheckpointOptions& options) {
  bind_overlay(parser, options.overlay);
  parser.flag("--list", options.list);
}

void take(CheckpointOptions& options, std::vector<std::string> operands) {
  require_overlay(options.overlay);
  if (!options.list) return take_checkpoint(options.name, std::move(operands));
  if (!operands.empty()) {
    throw usage("--list takes no name").found("'" + printable(operands.front()) + "'");
  }
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
  return exit_code::kOk;
}

void warn_of_part(const CheckpointOptions& options, const std::vector<HeldOverlay>& overlays) {
  if (options.quiet) return;
  const auto torn = overlay::torn_off(options.overlay.directory, paths_of(overlays));
  if (!torn.empty()) {
    warn("the checkpoint is only of a part of what was written together, without " +
         overlay::describe(torn));
  }
}

int run(const CheckpointOptions& options) {
  const std::vector<HeldOverlay> overlays = hold_all(options.overlay, {});
  if (options.list) return list_checkpoints(overlays);
  refuse_committing(overlays);
  const std::string& name = options.name;
  for (const HeldOverlay& overlay : overlays) {
    if (!has_snapshot(overlay, name)) continue;
    throw Error(Fault::usage,
                "there is a checkpoint '" + name + "' in " + overlay.path + " already")
        .advice("take another name; 'peelfs checkpoint --list' shows them")
        .with_errno(EEXIST);
  }
  warn_of_part(options, overlays);
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
  return exit_code::kOk;
}

}  // namespace

extern const VerbRow kCheckpointVerb{
    .word = "checkpoint",
    .line = "  peelfs checkpoint, peelfs revert      a state of it to come back to\n",
    .help = kHelp,
    .actions = actions_of<CheckpointOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
