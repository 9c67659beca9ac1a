// `peelfs fsck`: checks every filesystem in the sources, each by its own checker.
#include "cli/verbs/fsck.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

#include "check/fleet.h"
#include "check/repair.h"
#include "cli/fsck/logs.h"
#include "cli/fsck/repairs.h"
#include "cli/fsck/result.h"
#include "cli/fsck/screen.h"
#include "cli/groups/format.h"
#include "cli/groups/timeout.h"
#include "cli/interrupt.h"
#include "cli/operands.h"
#include "cli/secrets.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/unmet.h"
#include "cli/values.h"
#include "host/output_file.h"
#include "jobs/spawner.h"
#include "mount/process.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

constexpr const char* kBefore = R"(peelfs fsck [OPTIONS] SOURCE... [-- NAME...]

Checks every filesystem in the sources, or those behind --, each with its own checker:
e2fsck, xfs_repair, btrfs check, fsck.fat, fsck.exfat, ntfsfix, fsck.f2fs, jfs_fsck,
reiserfsck. Nothing is changed. A journal that must be replayed is replayed in an overlay
that is thrown away, so that the verdict is what a guest would find at boot. All devices
of a filesystem are checked as one: name the sources of all of them.

With --repair those with errors are repaired in an overlay, and checked again. What is
clean then is shown, and you are asked: commit it into the source, drop it, keep it, or
show it. What is not clean when checked again is never committed.

The checkers run as the command of 'peelfs try' does: they see no block device of the
host, and cannot write the sources. Images that a running guest writes are skipped, and
said to be; so is whatever could not be looked into: locked, damaged, incomplete.

  -j, --jobs N            checks at once (as many as there are processors); fewer where
                          memory is short. The largest are done first
  --due, --since-boot     only filesystems that a check is due for: not unmounted, marked
                          as having errors, mounted or left unchecked too often (ext, FAT)
  --repair                repair, in an overlay; without a terminal to ask on, with one of
    --commit, --drop      do not ask
    --keep DIR            do not ask: the overlays are, and stay, in DIR/SOURCE
    --rw                  no overlay, no question: the sources themselves are repaired
  --skip-busy             images in use are no reason for exit status 8
  --background            yield the processors and the disks to all others
  --log DIR               what the checkers write goes into DIR/SOURCE.DEVICE.log
  --junit FILE            the results as JUnit's XML, too
  -J, --json              the results as JSON, for programs
  --timeout SECONDS       leave a source out that does not answer so long (60)
)";
constexpr const char* kAfter = R"(
Filesystems in snapshots of an image are checked only if they are named. NAME may be a
device that holds others: all within it are checked.

In the table: clean; replayed (clean, once its journal was replayed); errors; repaired (in
the source); skipped and failed, with the reason below; - for what is never checked.

Exit status, as fsck(8), added up: 0 nothing is wrong; 1 repairs, or replays, were written
to sources; 4 errors are left; 8 something could not be checked; 16 wrong usage; 32 ended
by Ctrl-C or a signal.

Examples:
  peelfs fsck /var/lib/libvirt/images
  peelfs fsck --key-file key --log logs /dev/vg0/guest disk.qcow2 -- disk2
  peelfs fsck --repair /srv/images/mail.qcow2
  peelfs fsck --background --skip-busy --due --junit fsck.xml /srv/images
)";
constexpr std::array<const char*, 4> kHelp{kBefore, kSourceHelp, kLimitHelp, kAfter};

void set_outcome(FsckOptions& options, Outcome outcome) {
  if (options.outcome != Outcome::ask && options.outcome != outcome) {
    throw usage("--commit, --drop and --keep exclude one another");
  }
  options.outcome = outcome;
}

void bind_repair(Parser& parser, FsckOptions& options) {
  parser.flag("--repair", options.repair);
  parser.flag("--rw", options.in_place);
  parser.action("--commit", [&options] { set_outcome(options, Outcome::commit); });
  parser.action("--drop", [&options] { set_outcome(options, Outcome::drop); });
  parser.option("--keep", [&options](const std::string& directory) {
    need_value("keep", directory);
    set_outcome(options, Outcome::keep);
    options.keep = directory;
  });
}

/// @throws Error(Fault::usage) when the options do not go together
void check_repair(const FsckOptions& options) {
  const bool says_outcome = options.outcome != Outcome::ask;
  if (!options.repair && (says_outcome || options.in_place)) {
    throw usage("--commit, --drop, --keep and --rw say what becomes of a repair")
        .expected("--repair beside them");
  }
  if (options.in_place && says_outcome) {
    throw usage("--rw repairs the sources themselves: there is nothing to commit, drop or keep");
  }
}

/// @throws Error(Fault::usage) when there would be a question, and there is no one to answer it
void check_terminal(const FsckOptions& options) {
  if (!options.repair || options.in_place || options.outcome != Outcome::ask || can_ask()) return;
  throw usage("--repair asks before it commits, and there is no terminal to ask on")
      .expected("--commit, --drop or --keep DIR beside it");
}

void bind(Parser& parser, FsckOptions& options) {
  bind_sources(parser, options.from);
  bind_timeout(parser, options.patience);
  bind_json(parser, options.json);
  parser.behind_dashes(options.names);
  bind_repair(parser, options);
  parser.flag("--due,--since-boot", options.only_due);
  parser.flag("--skip-busy", options.skip_busy);
  parser.flag("--background", options.background);
  parser.option("--jobs,-j", [&options](const std::string& text) {
    const auto number = parse_number(text);
    constexpr std::uint64_t kMost = 1024;
    if (!number || *number == 0 || *number > kMost) {
      throw usage("--jobs takes a number from 1 to " + std::to_string(kMost))
          .found("'" + printable(text) + "'");
    }
    options.jobs = static_cast<unsigned>(*number);
  });
  parser.option("--junit", [&options](const std::string& path) {
    need_value("junit", path);
    options.junit = path;
  });
  parser.option("--log", [&options](const std::string& path) {
    need_value("log", path);
    options.log = path;
  });
}

void take(FsckOptions& options, std::vector<std::string> operands) {
  take_sources(options.from.sources, std::move(operands), "");
  check_repair(options);
}

/// Hands on what happens to all that tell of it.
class Telling : public check::FleetObserver {
 public:
  Telling(const check::Plan& plan, const FsckOptions& options)
      : screen_(plan, !options.quiet), logs_(plan, options.log), quiet_(options.quiet) {}

  void begins(std::string_view what, std::size_t targets) override { screen_.begin(what, targets); }
  void started(std::size_t target, const std::vector<std::string>& words) override {
    screen_.started(target);
    logs_.started(target, words);
  }
  void progressed(std::size_t target, unsigned percent) override {
    screen_.progressed(target, percent);
  }
  void said(std::size_t target, std::string_view output) override { logs_.said(target, output); }
  void finished(std::size_t target) override {
    screen_.finished(target);
    logs_.finished(target);
  }
  void warned(const std::string& text) override {
    screen_.clear();
    if (!quiet_) warn(text);
  }
  void tick() override { screen_.tick(); }

  FsckScreen& screen() { return screen_; }
  const FsckLogs& logs() const { return logs_; }

 private:
  FsckScreen screen_;
  FsckLogs logs_;
  const bool quiet_;
};

int code_of(const FsckOptions& options, const check::Target& target,
            const check::Outcome& outcome) {
  const int written = outcome.is_written ? fsck_exit::kCorrected : fsck_exit::kOk;
  const int left_out = outcome.left_out.empty() ? fsck_exit::kOk : fsck_exit::kOperational;
  switch (outcome.verdict.state) {
    case check::State::errors:
      return fsck_exit::kErrorsLeft | written | left_out;
    case check::State::skipped:
      return (target.busy || outcome.is_busy) && options.skip_busy ? fsck_exit::kOk
                                                                   : fsck_exit::kOperational;
    case check::State::failed:
      return fsck_exit::kOperational | written;
    case check::State::cancelled:
      return fsck_exit::kCancelled;
    case check::State::repaired:
      return fsck_exit::kCorrected | left_out;
    case check::State::clean:
    case check::State::replayed:
    case check::State::listed:
      break;
  }
  return written | left_out;
}

/// The report may take the place of an older one, and of nothing else. Said before all the work.
void check_report(const std::string& path) {
  if (path.empty()) return;
  refuse_replacing(path);
  const std::string folder = std::filesystem::absolute(path).parent_path().string();
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw Error::system(errno, "cannot write " + path);
  }
  std::ifstream file(path);
  std::string begin(kJunitBegins.size(), '\0');
  file.read(begin.data(), static_cast<std::streamsize>(begin.size()));
  begin.resize(static_cast<std::size_t>(file.gcount()));
  if (begin.empty() || begin == kJunitBegins) return;
  throw Error(Fault::usage, path + " is there already, and is no report of peelfs fsck")
      .advice("name another file with --junit");
}

int run(const FsckOptions& options) {
  if (::fcntl(STDOUT_FILENO, F_GETFD) < 0) {
    throw Error(Fault::io, "standard output is closed: the results would be lost")
        .advice("send them to a file, or to /dev/null");
  }
  open_standard_descriptors();
  check_terminal(options);
  // Before any key is read that a command could inherit, and after those in the environment.
  FsckOptions said = options;
  take_from_environment(said.from.keys.origins);
  jobs::Spawner spawner;
  check_report(said.junit);
  check_keep_directory(said.keep);
  const Opening opening{
      .from = said.from,
      .patience = Patience{.limit = said.patience, .code = fsck_exit::kOperational},
      .verbose = said.verbose,
      .quiet = said.quiet,
      .tells_left_out = true};
  const auto peeling = open_session(opening);
  report_warnings(said.quiet, *peeling);
  const check::Plan plan = check::make_plan(*peeling, {.names = said.names,
                                                       .only_due = said.only_due,
                                                       .with_outside = said.repair,
                                                       .now = std::chrono::system_clock::now()});
  check_report(said.junit);  // now that the sources are known
  const Interruptible interruptible;
  Telling telling(plan, said);
  check::FleetOptions fleet;
  fleet.at_once = said.jobs != 0 ? said.jobs : std::max(1U, std::thread::hardware_concurrency());
  fleet.background = said.background;
  fleet.memory = check::usual_memory();
  fleet.cancelled = [] { return Interruptible::signal() != 0; };
  const PeelRequest request = peel_request(opening);
  auto outcomes = check::check_all(*peeling, request, plan, spawner, fleet, telling);
  int settled = fsck_exit::kOk;
  if (said.repair && Interruptible::signal() == 0) {
    const auto repairs = check::repair_all(*peeling, request, plan, outcomes, spawner, fleet,
                                           telling, repair_options(said));
    telling.screen().clear();
    // The next commands that are told repeat what the person wrote.
    settled = settle_repairs(options, *peeling, request, plan, repairs, outcomes);
  }
  telling.screen().clear();

  int code = settled | (peeling->complete() ? fsck_exit::kOk : fsck_exit::kOperational);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    code |= code_of(said, plan.targets[i], outcomes[i]);
  }
  if (Interruptible::signal() != 0) code |= fsck_exit::kCancelled;
  if (!telling.logs().failure().empty()) {
    warn(telling.logs().failure());
    code |= fsck_exit::kOperational;
  }
  const FsckResult result{
      plan, outcomes, telling.logs().paths(), peeling->warnings(), peeling->complete(), code};
  if (!said.junit.empty()) replace_file(said.junit, junit_of(result));
  said.json ? put(json_of(result)) : print_table(result);
  finish_output();
  if (plan.in_snapshots > 0 && !said.quiet) {
    warn(std::to_string(plan.in_snapshots) +
         " filesystems in snapshots were not checked; name them behind -- if they matter");
  }
  return code;
}

}  // namespace

extern const VerbRow kFsckVerb{
    .word = "fsck",
    .line = "  peelfs fsck SOURCE... [-- NAME...]    check every filesystem, or repair\n",
    .help = kHelp,
    .failures = FailureCodes::of_fsck,
    .actions = actions_of<FsckOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
