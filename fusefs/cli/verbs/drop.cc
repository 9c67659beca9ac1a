// `peelfs drop`: overlays, and what was written to them, go.
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "cli/held_overlays.h"
#include "cli/text.h"
#include "cli/verb.h"
#include "host/folder.h"
#include "jobs/workplace.h"

namespace peelfs::cli {
namespace {

struct DropOptions : VerbOptions {
  std::vector<std::string> sources;  ///< none: all overlays in the directory
  OverlayOptions overlay;
  bool half_committed = false;
  bool accept_part = false;
};

constexpr const char* kBefore =
    R"(peelfs drop --overlay DIR [--accept-part] [--half-committed] [SOURCE...]

Removes the overlays of the sources, or all that are in DIR, with everything that was
written to them. The sources stay as they are, since they were never written. Refused
while one is mounted, or half committed, and a part of what was written together in one
mount, as with commit.

  --accept-part           drop these all the same
  --half-committed        also one whose commit was interrupted: its source stays as it
                          is, neither old nor new
)";
constexpr const char* kAfter = R"(
Exit status: 0 removed; 2 not.
)";
constexpr std::array<const char*, 3> kHelp{kBefore, kAcceptSharedDirHelp, kAfter};

void bind(Parser& parser, DropOptions& options) {
  bind_overlay(parser, options.overlay);
  parser.flag("--half-committed", options.half_committed);
  parser.flag("--accept-part", options.accept_part);
}

void take(DropOptions& options, std::vector<std::string> operands) {
  require_overlay(options.overlay);
  options.sources = std::move(operands);
}

void refuse_part(const DropOptions& options, const std::vector<HeldOverlay>& overlays) {
  if (options.accept_part) return;
  const auto torn = overlay::torn_off(options.overlay.directory, paths_of(overlays));
  if (torn.empty()) return;
  std::vector<std::string> whole{"peelfs", "drop", "--overlay", options.overlay.directory};
  const auto sources = overlay::with_left_out(options.sources, torn);
  whole.insert(whole.end(), sources.begin(), sources.end());
  throw only_a_part(torn, "dropped", whole);
}

int run(const DropOptions& options) {
  const std::vector<HeldOverlay> overlays = hold_all(options.overlay, options.sources);
  if (!options.half_committed) {
    refuse_committing(overlays,
                      "; if the source is to stay as it is now, or comes from a backup, say "
                      "--half-committed");
  }
  // All that are there: what is gone is gone, and nothing is torn that was not before.
  if (!options.sources.empty()) {
    refuse_part(options, overlays);
    overlay::part(options.overlay.directory, paths_of(overlays));
  }
  for (const HeldOverlay& overlay : overlays) {
    remove_file(overlay.path);
    if (!options.quiet) put(shown(overlay.path) + " is removed\n");
  }
  jobs::remove_if_empty(options.overlay.directory);
  finish_output();
  return exit_code::kOk;
}

}  // namespace

extern const VerbRow kDropVerb{
    .word = "drop",
    .line = "  peelfs drop --overlay DIR             forget it\n",
    .help = kHelp,
    .actions = actions_of<DropOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
