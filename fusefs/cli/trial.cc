#include "cli/trial.h"

#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "cli/changes_text.h"
#include "cli/exit_codes.h"
#include "cli/interrupt.h"
#include "cli/out_of_reach.h"
#include "cli/outcome.h"
#include "cli/secrets.h"
#include "cli/session.h"
#include "cli/text.h"
#include "host/in_use.h"
#include "host/source.h"
#include "jobs/relatives.h"
#include "jobs/runner.h"
#include "jobs/workplace.h"
#include "mount/mount.h"
#include "overlay/commit_refusals.h"
#include "overlay/set.h"
#include "peelfs/error.h"
#include "world/host_files.h"

namespace peelfs::cli {
namespace {

/// What the command needs to know of the sources as they are.
struct Target {
  std::string name;  ///< flat
  std::shared_ptr<KeyRing> keys;
  jobs::Relatives relatives;
  world::Plan world;  ///< without folder and mountpoint; devices by flat name
  world::HostFiles originals;
};

void explain_relatives(const TryOptions& options, const Target& target) {
  if (options.quiet || target.relatives.missing.empty()) return;
  warn(target.name + " " + target.relatives.what + ": " + target.relatives.missing);
}

/// The sources without an overlay, and without a clock: a command may take its time.
Opening opening_of(const TryOptions& options) {
  Opening opening{.from = options.from, .verbose = options.verbose, .quiet = options.quiet};
  opening.overlay.accept_shared = options.accept_shared;
  return opening;
}

Target find_target(const TryOptions& options) {
  const auto peeling = open_session(opening_of(options));
  report_warnings(options.quiet, *peeling);
  if (!peeling->unmet().empty()) {
    throw Error(Fault::usage, peeling->unmet().front())
        .advice("nothing was run; give the right key, or leave this one out");
  }
  const auto catalog = peeling->catalog();
  const Catalog::Entry entry = find_device(*peeling, *catalog, options.name);
  if (entry.node->trouble && entry.node->trouble->state == Trouble::locked) {
    throw Error(Fault::locked, entry.name + " is locked: " + entry.node->trouble->reason);
  }
  Target target;
  target.name = entry.name;
  target.keys = peeling->keys();
  target.relatives = jobs::relatives_of(*catalog, entry);
  target.world.devices = jobs::listed_with(*catalog, entry, "");
  target.originals = protect_originals(options, target.world);
  explain_relatives(options, target);
  return target;
}

PeelRequest request_for(const TryOptions& options, const std::string& overlays,
                        overlay::Request::Kind kind) {
  PeelRequest request = peel_request(opening_of(options));
  request.overlay.kind = kind;
  request.overlay.directory = overlays;
  request.overlay.accept_shared = options.accept_shared;
  return request;
}

/// Waits for what the command may have left running.
void unmount_patiently(const std::string& mountpoint) {
  constexpr int kTries = 50;
  for (int i = 0;; ++i) {
    try {
      request_unmount(mountpoint);
      return;
    } catch (const Error& error) {
      if (error.error_number() != EBUSY) throw;
      if (i == 0) say("peelfs: " + std::string(error.what()) + "; waiting for it to end");
      if (i == kTries) {
        UnmountOptions options;
        options.lazy = true;
        request_unmount(mountpoint, options);
        throw Error(error);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  }
}

/// The command with the device's path in the place of every {}.
std::vector<std::string> words_for(const TryOptions& options, const std::string& path) {
  std::vector<std::string> words = options.command_line;
  for (std::string& word : words) {
    for (std::size_t at = 0; (at = word.find("{}", at)) != std::string::npos; at += path.size()) {
      word.replace(at, 2, path);
    }
  }
  return words;
}

/// The command's world: target.world, now that there is a mount.
world::Plan world_for(const Target& target, const jobs::Workplace& work,
                      const std::string& overlays) {
  world::Plan plan = target.world;
  plan.folder = work.world();
  plan.mountpoint = work.mountpoint();
  for (world::ListedDevice& device : plan.devices) device.path = work.mountpoint() + device.path;
  for (const std::string& path : overlay::overlays_in(overlays)) {
    for (world::Original& file : world::original_at(path)) {
      plan.originals.push_back(std::move(file));
    }
  }
  return plan;
}

/// @throws Error when the command could find the originals of this target, and had no world to keep
/// it away from them
jobs::Ending run_in_world(const TryOptions& options, jobs::Runner& runner, const Target& target,
                          const jobs::Workplace& work, const std::string& overlays) {
  jobs::Order order;
  order.words = words_for(options, work.mountpoint() + "/" + target.name);
  order.world = world_for(target, work, overlays);
  order.only_in_world = !target.relatives.alone;
  world::HostFiles originals = target.originals;
  originals.files = order.world.originals;
  order.withheld = world::descriptors_on(originals);
  withhold(options, order.withheld);
  try {
    jobs::Ending ending = runner.run(order);
    if (!ending.no_world.empty() && !options.quiet) {
      warn(
          "the command could see the host's devices and the sources, since there is no namespace "
          "for it: " +
          ending.no_world);
    }
    return ending;
  } catch (Error& error) {
    if (error.fault() != Fault::denied) throw;
    const std::string why = target.relatives.several
                                ? target.relatives.what
                                : "may belong to a filesystem on several devices";
    throw std::move(error).advice(
        target.name + " " + why +
        ", and tools find the originals by UUID; run this where user namespaces are allowed, or as "
        "root; or mount with --overlay DIR, and run the command yourself where no original is "
        "visible as a block device");
  }
}

/// Mounts, runs the command, unmounts.
/// @param is_mounted set once the command could write
jobs::Ending run_on(const TryOptions& options, jobs::Runner& runner, const Target& target,
                    const std::string& overlays, bool& is_mounted) {
  const jobs::Workplace work;
  jobs::Lifeline lifeline;
  MountOptions mount;
  mount.mountpoint = work.mountpoint();
  mount.fsname = source_text(options.from.sources);
  mount.read_only = false;
  mount.quiet = true;
  const int mounted = run_mount(mount, [&] {
    Interruptible::stop_noting();
    runner.let_go();
    lifeline.end_mount_without_us(work.path(), options.keep.empty() ? overlays : "");
    return std::make_shared<Peeling>(
        request_for(options, overlays, overlay::Request::Kind::persistent), target.keys);
  });
  if (mounted != mount_exit::kOk) {
    Interruptible::check();
    throw Error(Fault::io, "the sources could not be mounted").advice("see the message above");
  }
  is_mounted = true;
  jobs::Ending ending;
  try {
    Interruptible::check();
    ending = run_in_world(options, runner, target, work, overlays);
  } catch (const Error&) {
    try {
      unmount_patiently(work.mountpoint());
    } catch (const Error&) {
      // What has stopped us may have ended the mount as well.
      if (Interruptible::signal() == 0) throw;
    }
    throw;
  }
  unmount_patiently(work.mountpoint());
  if (ending.left_running) {
    throw Error(Fault::io, "something that the command had started did not end, and was ended")
        .advice("run it so that it waits for all that it starts");
  }
  return ending;
}

/// Whether there is anything in the overlays that differs from the sources.
bool show_changes(const TryOptions& options, const std::string& overlays, const Target& target) {
  const Peeling after(request_for(options, overlays, overlay::Request::Kind::view), target.keys);
  const auto before = after.uncovered();
  std::vector<DeviceChange> changes = find_changes_visibly(*before, after, "", !options.quiet);
  std::erase_if(changes, [](const DeviceChange& change) { return !change.interesting(); });
  std::string text;
  print_changes(changes, options.verbose, options.verbose, text);
  if (!changes.empty()) say("peelfs: what has changed:\n" + text.substr(0, text.size() - 1));
  return !changes.empty();
}

/// @param said the options as the person wrote them
Written written_of(const TryOptions& said, const TryOptions& options, const std::string& overlays) {
  return {.from = said.from,
          .overlays = overlays,
          .own = options.keep.empty(),
          .accept_shared = options.accept_shared,
          .quiet = options.quiet};
}

/// What was said on the command line, or what the person answers. Nothing of a command that has
/// failed is committed, and after a signal the changes are kept.
/// @param code the command's @param ended a signal that told peelfs to end; 0: none
Outcome decide(const TryOptions& options, const std::string& overlays, int code, int ended) {
  const bool good = is_success(options.command_line, code, options.good_codes);
  Outcome outcome = options.outcome;
  if (outcome == Outcome::ask && (ended != 0 || !can_ask())) outcome = Outcome::keep;
  if (outcome == Outcome::ask) {
    say("peelfs: until you decide they are in " + shown(overlays));
    outcome = ask({.text = good ? "Commit these changes into the sources, drop them, or keep them "
                                  "for later?"
                                : "The command has failed. Drop these changes, or keep them for "
                                  "later?",
                   .may_commit = good,
                   .details = {}});
  }
  if (outcome == Outcome::commit && !good) {
    warn("not committed: the command has ended with " + std::to_string(code) +
         " (--ok CODES says which codes besides 0 are good)");
    return Outcome::keep;
  }
  return outcome;
}

/// Said before the command runs, too, and not only when everything is done.
void refuse_uncommittable(const TryOptions& options) {
  if (options.outcome != Outcome::commit) return;
  for (const std::string& source : options.from.sources) {
    const std::string path = parse_source(source).path;
    if (const auto file = identity_of(path)) refuse_in_use(*file, path);
  }
  try {
    overlay::refuse_unwritable(commit_request_of(written_of(options, options, "")));
  } catch (Error& error) {
    error.add_context("nothing was run, since its changes could not be committed");
    throw;
  }
}

}  // namespace

int run_trial(const TryOptions& said) {
  TryOptions options = said;
  // Before any key is read that the command could inherit, and after those in the environment.
  take_from_environment(options.from.keys.origins);
  std::set<int> withheld = world::descriptors_on(named_files(options));
  withheld.erase(STDIN_FILENO);  // nothing is written there until the command runs
  withhold(options, withheld);
  withheld.merge(key_descriptors(options));
  jobs::Runner runner(withheld);
  refuse_uncommittable(options);
  const Target target = find_target(options);
  // Whatever comes, the mount is ended and nothing is left lying about; what came is obeyed
  // afterwards.
  const Interruptible interruptible;
  const bool own = options.keep.empty();
  const std::string overlays =
      own ? jobs::make_folder("/var/tmp") : std::filesystem::absolute(options.keep).string();
  const Written written = written_of(said, options, overlays);
  int code = 0;
  bool changed = true;
  bool is_mounted = false;
  try {
    code = run_on(options, runner, target, overlays, is_mounted).code;
    if (code == jobs::run_exit::kNotFound || code == jobs::run_exit::kNotRunnable) {
      warn(options.command_line.front() +
           (code == jobs::run_exit::kNotFound ? ": there is no such command" : " cannot be run"));
    }
    changed = show_changes(options, overlays, target);
  } catch (const Error&) {
    // What was written until then is worth looking at. What lies in the person's own directory, and
    // was never mounted here, is older.
    if (own || is_mounted) keep_what_was_written(written);
    throw;
  }
  if (!changed) {
    say("peelfs: nothing is changed");
    if (own) jobs::remove_overlays(overlays);
    return code;
  }
  conclude(written, decide(options, overlays, code, jobs::Runner::ended_by()));
  return code;
}

}  // namespace peelfs::cli
