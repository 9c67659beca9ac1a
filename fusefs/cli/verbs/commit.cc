// `peelfs commit`: what overlays hold goes into their sources.
#include "cli/commit.h"

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "cli/groups/overlay.h"
#include "cli/groups/sources.h"
#include "cli/interrupt.h"
#include "cli/operands.h"
#include "cli/text.h"
#include "cli/verb.h"
#include "jobs/workplace.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

struct CommitOptions : VerbOptions {
  // Of the options for sources only these: the overlay's bytes go into the source as they are, and
  // nothing is opened.
  std::vector<std::string> sources;
  std::vector<std::string> allow_references;
  std::vector<Directive> directives;
  CoverOptions cover;
  bool accept_part = false;
  bool drop_snapshots = false;
  bool grow = false;
};

constexpr const char* kBefore =
    R"(peelfs commit --overlay DIR [OPTION...] SOURCE...

Brings what the overlays in DIR hold into their sources, reads it back from the disk and
compares it, and removes the overlays. Nothing else of a source is touched. It needs no
keys: what is encrypted stays as it is.

Refused, with nothing written: a source that is not what it was when its overlay was
made; sources and overlays that are mounted or that a guest has open; a part of the
sources that were written together in one mount (the legs of a mirror, the disks of a
volume group), unless the others' overlays hold nothing: name them all; an overlay that
was resized ('qemu-img resize'), whose source would lose what is behind its end; an
overlay with checkpoints or a guest's saved states in it, which would be lost.

If it is stopped, by a kill or a power cut, the overlay is still there and says so: a
mount refuses it, because its source is neither old nor new. The same command again
finishes it.

  --accept-part           commit these although what was written together with them is
                          left out; what lies across them may be torn
  --drop-snapshots        internal snapshots (checkpoints, the saved state of a running
                          machine) go with the overlay
  --grow                  make a source as large as its overlay was made: a file, raw or
                          qcow2; a block device must have been made larger before
  --accept-source         what was named may be a copy of the overlay's source, or have
                          another time of last change
)";
constexpr const char* kAfter =
    R"(  --allow-reference PATH  a data file that an image names may be written
  --as NAME=KIND          as it was given to the mount that wrote the overlay
  -v, --verbose; -q, --quiet (no progress, no report)

Exit status: 0 all committed; 2 not: either nothing was written, or the message says
that the commit has to be finished.

Example:
  peelfs umount /mnt/p && peelfs commit --overlay changes disk.qcow2
)";
constexpr std::array<const char*, 3> kHelp{kBefore, kAcceptSharedDirHelp, kAfter};

void bind(Parser& parser, CommitOptions& options) {
  bind_allow_reference(parser, options.allow_references);
  bind_as(parser, options.directives);
  bind_cover(parser, options.cover);
  parser.flag("--accept-part", options.accept_part);
  parser.flag("--drop-snapshots", options.drop_snapshots);
  parser.flag("--grow", options.grow);
}

void take(CommitOptions& options, std::vector<std::string> operands) {
  require_overlay(options.cover);
  take_sources(options.sources, std::move(operands), "");
}

int run(const CommitOptions& options) {
  overlay::CommitRequest request = commit_request(options.sources, options.allow_references,
                                                  options.directives, options.cover.directory);
  request.accept_source = options.cover.accept_source;
  request.accept_shared = options.cover.accept_shared;
  request.accept_part = options.accept_part;
  request.grow = options.grow;
  request.drop_snapshots = options.drop_snapshots;
  const Interruptible interruptible;
  try {
    commit_overlays(std::move(request), options.quiet, false);
    jobs::remove_if_empty(options.cover.directory);
  } catch (const Error& error) {
    if (Interruptible::signal() == 0) throw;
    Interruptible::obey(error);
  }
  finish_output();
  return exit_code::kOk;
}

}  // namespace

extern const VerbRow kCommitVerb{
    .word = "commit",
    .line = "  peelfs commit --overlay DIR SOURCE... bring it into the sources\n",
    .help = kHelp,
    .actions = actions_of<CommitOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
