// `peelfs revert`: overlays become what they were at a checkpoint.
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "cli/held_overlays.h"
#include "cli/operands.h"
#include "cli/verb.h"

namespace peelfs::cli {
namespace {

struct RevertOptions : VerbOptions {
  OverlayOptions overlay;
  std::string name;  ///< of the checkpoint
  bool accept_part = false;
};

constexpr const char* kBefore = R"(peelfs revert --overlay DIR [--accept-part] NAME

Makes all overlays in DIR what they were at the checkpoint NAME. What was written since
is lost; the checkpoint stays. They must not be mounted. Refused when one that was
written together with them is not in DIR any more.

  --accept-part           revert these all the same
)";
constexpr const char* kAfter = R"(
Exit status: 0 done; 2 not (the message says which overlays are reverted, if any).
)";
constexpr std::array<const char*, 3> kHelp{kBefore, kAcceptSharedDirHelp, kAfter};

void bind(Parser& parser, RevertOptions& options) {
  bind_overlay(parser, options.overlay);
  parser.flag("--accept-part", options.accept_part);
}

void take(RevertOptions& options, std::vector<std::string> operands) {
  require_overlay(options.overlay);
  take_checkpoint(options.name, std::move(operands));
}

void refuse_part(const RevertOptions& options, const std::vector<HeldOverlay>& overlays) {
  if (options.accept_part) return;
  const auto torn = overlay::torn_off(options.overlay.directory, paths_of(overlays));
  if (torn.empty()) return;
  throw only_a_part(torn, "reverted",
                    {"peelfs", "revert", "--overlay", options.overlay.directory, options.name});
}

int run(const RevertOptions& options) {
  const std::vector<HeldOverlay> overlays = hold_all(options.overlay, {});
  refuse_committing(overlays);
  const std::string& name = options.name;
  for (const HeldOverlay& overlay : overlays) {
    if (has_snapshot(overlay, name)) continue;
    throw Error(Fault::missing, "there is no checkpoint '" + name + "' in " + overlay.path)
        .advice("'peelfs checkpoint --list' shows what there is; nothing is changed");
  }
  refuse_part(options, overlays);
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
  return exit_code::kOk;
}

}  // namespace

extern const VerbRow kRevertVerb{
    .word = "revert",
    // The line of checkpoint names it.
    .help = kHelp,
    .actions = actions_of<RevertOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
