// `peelfs try`: runs a command on a device as if it could write, and asks afterwards.
#include "cli/verbs/try.h"

#include <algorithm>
#include <array>
#include <utility>

#include "cli/exit_codes.h"
#include "cli/groups/overlay.h"
#include "cli/interrupt.h"
#include "cli/operands.h"
#include "cli/trial.h"
#include "cli/values.h"
#include "jobs/runner.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

constexpr const char* kBefore =
    R"(peelfs try [--commit | --drop | --keep DIR] [--ok CODES] SOURCE... NAME -- COMMAND... {} ...

Runs COMMAND on the device NAME, with the device's path in the place of {}. What it
writes goes into an overlay; the sources are only read. Then shows what has changed, and
asks: commit it into the sources, drop it, or keep it; the word or its first letter
answers. Committing is only offered, and only done, if the command ended with 0, or an
fsck with 1 ("errors corrected"), also behind nice, timeout, env and their like.

  --commit, --drop        do not ask
  --keep DIR              do not ask: the overlay is, and stays, in DIR
  --ok CODES              other exit codes that are good: 1,4 or 0-3
Without a terminal to ask on it is kept, and where is said ($TMPDIR or /var/tmp). It is
kept there, too, when peelfs is killed, and the mount ends.

COMMAND runs in namespaces of its own: it sees no block device of the host, cannot write
the sources, inherits only standard input, output and error, and what it leaves running
ends with it. Its tools find the devices of the mount by UUID, the members of a btrfs and
external journals too: name the sources of all of them. Where the kernel grants no
namespaces, a filesystem that may lie on several devices is refused.

Exit status: that of COMMAND (128 + signal); 125 peelfs failed, 126 COMMAND cannot be run,
127 there is no such COMMAND. Messages and the changes go to standard error.

Examples:
  peelfs try damaged.img lvg1-data -- btrfs check --repair {}
  peelfs try --commit disk.qcow2 diskp1 -- e2fsck -fy {}
)";
// Its overlay is new, and its own: of the options for overlays it has this one.
constexpr std::array<const char*, 4> kHelp{kBefore, kSourceHelp, kAcceptSharedHelp, kLimitHelp};

void set_outcome(TryOptions& options, Outcome outcome) {
  if (options.outcome != Outcome::ask && options.outcome != outcome) {
    throw usage("--commit, --drop and --keep exclude one another");
  }
  options.outcome = outcome;
}

void bind(Parser& parser, TryOptions& options) {
  bind_sources(parser, options.from);
  bind_accept_shared(parser, options.accept_shared);
  parser.behind_dashes(options.command_line);
  parser.action("--commit", [&options] { set_outcome(options, Outcome::commit); });
  parser.action("--drop", [&options] { set_outcome(options, Outcome::drop); });
  parser.option("--keep", [&options](const std::string& directory) {
    set_outcome(options, Outcome::keep);
    options.keep = directory;
  });
  parser.option("--ok", [&options](const std::string& codes) {
    options.good_codes.merge(parse_codes(codes));
  });
}

void take(TryOptions& options, std::vector<std::string> operands) {
  if (options.command_line.empty()) {
    throw usage("no COMMAND is named")
        .expected("SOURCE... NAME -- COMMAND {}")
        .advice("behind '--' comes the command; {} stands for the device's path");
  }
  const auto& words = options.command_line;
  if (std::none_of(words.begin(), words.end(),
                   [](const std::string& word) { return word.find("{}") != std::string::npos; })) {
    throw usage("COMMAND has no {}, where the path of the device is put")
        .found("'" + printable(words.front()) + "'")
        .expected("{} in one of its words")
        .advice("peelfs try SOURCE... NAME -- fsck.ext4 -f {}");
  }
  options.name = take_last(operands, "NAME, the device to run COMMAND on,");
  take_sources(options.from.sources, std::move(operands), "NAME");
}

int run(const TryOptions& options) {
  int code = jobs::run_exit::kFailed;
  try {
    code = run_trial(options);
  } catch (const Error& error) {
    if (Interruptible::signal() == 0) throw;
    Interruptible::obey(error);
  }
  if (Interruptible::signal() != 0) Interruptible::obey();
  return code;
}

}  // namespace

extern const VerbRow kTryVerb{
    .word = "try",
    .line =
        "  peelfs try SOURCE... NAME -- fsck {}  run a command on a device, look, then decide\n",
    .help = kHelp,
    .failures = FailureCodes::of_try,
    .actions = actions_of<TryOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
