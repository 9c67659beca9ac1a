// `peelfs try`: runs a command on a device as if it could write, and asks afterwards.
#include <chrono>
#include <filesystem>
#include <map>
#include <thread>

#include "btrfs/members.h"
#include "cli/changes.h"
#include "cli/interrupt.h"
#include "cli/outcome.h"
#include "cli/runner.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/workplace.h"
#include "host/in_use.h"
#include "host/source.h"
#include "mount/mount.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

/// What the command needs to know of the sources as they are.
struct Target {
  std::string name;                  ///< flat
  std::vector<std::string> members;  ///< of its btrfs filesystem, by flat name
  std::shared_ptr<KeyRing> keys;
  std::size_t missing = 0;  ///< members that are in none of the sources
};

/// A filesystem on several devices: the command must find the others in the mount, and not the
/// originals, which carry the same UUIDs.
void find_members(const Catalog& catalog, const Node& node, Target& target) {
  const auto own = btrfs::membership(*node.device);
  if (!own || own->devices < 2) return;
  std::map<std::uint64_t, std::string> members{{own->device_id, target.name}};
  for (const Catalog::Entry& entry : catalog.devices()) {
    if (entry.node->kind == "snapshot" || entry.node->component) continue;
    if (entry.node->identity.type != "btrfs") continue;
    const auto other = btrfs::membership(*entry.node->device);
    if (!other || other->uuid != own->uuid) continue;
    const auto [known, first] = members.emplace(other->device_id, entry.name);
    if (first || known->second == entry.name || known->second == target.name) continue;
    throw Error(Fault::usage, "two devices claim to be the same member of the filesystem")
        .found(known->second + " and " + entry.name)
        .advice("name only the sources that belong together");
  }
  for (const auto& [id, name] : members) target.members.push_back(name);
  target.missing = own->devices > members.size() ? own->devices - members.size() : 0;
}

Target find_target(const Command& command) {
  const auto peeling = open_session(command);
  report_warnings(command, *peeling);
  if (!peeling->unmet().empty()) {
    throw Error(Fault::usage, peeling->unmet().front())
        .advice("nothing was run; give the right key, or leave this one out");
  }
  const auto catalog = peeling->catalog();
  const Catalog::Entry entry = find_device(*peeling, *catalog, command.name);
  if (entry.node->trouble && entry.node->trouble->state == "locked") {
    throw Error(Fault::locked, entry.name + " is locked: " + entry.node->trouble->reason);
  }
  Target target;
  target.name = entry.name;
  target.keys = peeling->keys();
  find_members(*catalog, *entry.node, target);
  return target;
}

PeelRequest request_for(const Command& command, const std::string& overlays,
                        overlay::Request::Kind kind) {
  PeelRequest request = peel_request(command);
  request.overlay.kind = kind;
  request.overlay.directory = overlays;
  request.overlay.accept_shared = command.from.accept_shared;
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

/// Mounts, runs the command, unmounts. @return the command's code
int run_on(const Command& command, Runner& runner, const Target& target,
           const std::string& overlays) {
  const Workplace work;
  Lifeline lifeline;
  MountOptions options;
  options.mountpoint = work.mountpoint();
  options.fsname = source_text(command.from.sources);
  options.read_only = false;
  options.quiet = true;
  const int mounted = run_mount(options, [&] {
    Interruptible::stop_noting();
    lifeline.end_mount_without_us(work.path(), command.keep.empty() ? overlays : "");
    return std::make_shared<Peeling>(
        request_for(command, overlays, overlay::Request::Kind::persistent), target.keys);
  });
  if (mounted != mount_exit::ok) {
    Interruptible::check();
    throw Error(Fault::io, "the sources could not be mounted").advice("see the message above");
  }
  const std::string path = work.mountpoint() + "/" + target.name;
  std::vector<std::string> words = command.command_line;
  for (std::string& word : words) {
    for (std::size_t at = 0; (at = word.find("{}", at)) != std::string::npos; at += path.size()) {
      word.replace(at, 2, path);
    }
  }
  Isolation isolation;
  isolation.folder = work.path();
  for (const std::string& member : target.members) {
    isolation.members.push_back(work.mountpoint() + "/" + member);
  }
  int code = 0;
  try {
    Interruptible::check();
    code = runner.run(words, isolation);
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
  return code;
}

/// Whether there is anything in the overlays that differs from the sources.
bool show_changes(const Command& command, const std::string& overlays, const Target& target) {
  const Peeling after(request_for(command, overlays, overlay::Request::Kind::view), target.keys);
  const auto before = after.uncovered();
  std::vector<DeviceChange> changes = find_changes(*before, after, "", !command.quiet);
  std::erase_if(changes, [](const DeviceChange& change) { return !change.interesting(); });
  std::string text;
  print_changes(changes, command.verbose, command.verbose, text);
  if (!changes.empty()) say("peelfs: what has changed:\n" + text.substr(0, text.size() - 1));
  return !changes.empty();
}

/// Said before the command runs, too, and not only when everything is done.
void refuse_what_is_in_use(const Command& command) {
  if (command.outcome != Outcome::commit) return;
  for (const std::string& source : command.from.sources) {
    const std::string path = parse_source(source).path;
    if (const auto file = identity_of(path)) refuse_in_use(*file, path);
  }
}

int attempt(const Command& command) {
  Runner runner;  // before there is any key that it could inherit
  refuse_what_is_in_use(command);
  const Target target = find_target(command);
  if (target.missing != 0 && !command.quiet) {
    warn(target.name + " is one of several devices of a btrfs filesystem, of which " +
         std::to_string(target.missing) + " are in none of the sources");
  }
  // Whatever comes, the mount is ended and nothing is left lying about; what came is obeyed
  // afterwards.
  const Interruptible interruptible;
  const bool own = command.keep.empty();
  const std::string overlays =
      own ? make_folder("/var/tmp") : std::filesystem::absolute(command.keep).string();
  int code = 0;
  bool changed = true;
  try {
    code = run_on(command, runner, target, overlays);
    if (code == try_exit::not_found || code == try_exit::not_runnable) {
      warn(command.command_line.front() +
           (code == try_exit::not_found ? ": there is no such command" : " cannot be run"));
    }
    changed = show_changes(command, overlays, target);
  } catch (const Error&) {
    // What was written until then is worth looking at.
    keep_what_was_written(command, overlays);
    throw;
  }
  if (!changed) {
    say("peelfs: nothing is changed");
    if (own) remove_overlays(overlays);
    return code;
  }
  conclude(command, overlays, decide(command, overlays, code, runner.ended_by()));
  return code;
}

}  // namespace

int run_try(const Command& command) {
  int code = try_exit::failed;
  try {
    code = attempt(command);
  } catch (const Error& error) {
    if (Interruptible::signal() == 0) throw;
    Interruptible::obey(error);
  }
  if (Interruptible::signal() != 0) Interruptible::obey();
  return code;
}

}  // namespace peelfs::cli
