// `peelfs try`: runs a command on a device as if it could write, and asks afterwards.
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <thread>

#include "btrfs/members.h"
#include "cli/changes.h"
#include "cli/commit.h"
#include "cli/interrupt.h"
#include "cli/runner.h"
#include "cli/session.h"
#include "cli/text.h"
#include "mount/mount.h"
#include "overlay/cover.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

namespace fs = std::filesystem;

/// On standard error: standard output is the command's.
void say(const std::string& text) {
  std::fputs((text + "\n").c_str(), stderr);
}

std::string make_folder(const char* fallback) {
  const char* const place = std::getenv("TMPDIR");
  std::string path =
      std::string(place != nullptr && *place != '\0' ? place : fallback) + "/peelfs-try-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) throw Error::system(errno, "cannot make " + path);
  return fs::absolute(path).string();
}

/// The mount point and what else is needed while the command runs; gone afterwards.
class Workplace {
 public:
  Workplace() : path_(make_folder("/tmp")) {
    if (::mkdir(mountpoint().c_str(), 0700) != 0) {
      throw Error::system(errno, "cannot make " + mountpoint());
    }
  }
  ~Workplace() {
    // Never with everything in it: a mount may still be there.
    ::rmdir(mountpoint().c_str());
    ::rmdir((path_ + "/dev").c_str());
    for (const char* const name : {"/blkid/blkid.tab", "/blkid/blkid.tab.old"}) {
      ::unlink((path_ + name).c_str());
    }
    ::rmdir((path_ + "/blkid").c_str());
    ::rmdir(path_.c_str());
  }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  const std::string& path() const { return path_; }
  std::string mountpoint() const { return path_ + "/mnt"; }

 private:
  std::string path_;
};

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

int run_on(const Command& command, Runner& runner, const Target& target, const Workplace& work,
           const std::string& overlays) {
  MountOptions options;
  options.mountpoint = work.mountpoint();
  options.fsname = source_text(command.from.sources);
  options.read_only = false;
  options.quiet = true;
  const int mounted = run_mount(options, [&] {
    return std::make_shared<Peeling>(
        request_for(command, overlays, overlay::Request::Kind::persistent), target.keys);
  });
  if (mounted != mount_exit::ok) {
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
    code = runner.run(words, isolation);
  } catch (const Error&) {
    unmount_patiently(work.mountpoint());
    throw;
  }
  unmount_patiently(work.mountpoint());
  return code;
}

void explain_kept(const Command& command, const std::string& overlays) {
  std::string sources;
  for (const std::string& source : command.from.sources) sources += " " + source;
  say("peelfs: the changes are kept in " + shown(overlays) + ". What next:\n" +
      "  peelfs diff --overlay " + shown(overlays + sources) + "\n" + "  peelfs commit --overlay " +
      shown(overlays + sources) + "\n" + "  peelfs drop --overlay " + shown(overlays));
}

/// @return false: a signal came instead
bool wait_for_answer() {
  constexpr int kLook = 200;  // milliseconds; one that comes just before poll() is seen then
  pollfd typed{STDIN_FILENO, POLLIN, 0};
  while (Interruptible::signal() == 0) {
    if (::poll(&typed, 1, kLook) > 0) return true;
  }
  return false;
}

Outcome ask(bool may_commit, const std::string& overlays) {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDERR_FILENO) == 0) return Outcome::keep;
  say("peelfs: until you decide they are in " + shown(overlays));
  for (;;) {
    std::fputs(may_commit ? "Commit these changes into the sources, drop them, or keep them for "
                            "later? [c/d/k] "
                          : "The command has failed. Drop these changes, or keep them for later? "
                            "[d/k] ",
               stderr);
    std::fflush(stderr);
    if (!wait_for_answer()) {
      say("");
      return Outcome::keep;
    }
    char* line = nullptr;
    std::size_t room = 0;
    const ssize_t got = ::getline(&line, &room, stdin);
    const std::string answer(line == nullptr || got <= 0 ? "" : line);
    std::free(line);
    if (got <= 0) return Outcome::keep;
    if (answer[0] == 'd') return Outcome::drop;
    if (answer[0] == 'k') return Outcome::keep;
    if (answer[0] == 'c' && may_commit) return Outcome::commit;
  }
}

bool is_checker(const std::string& program) {
  return fs::path(program).filename().string().find("fsck") != std::string::npos;
}

/// Whether there is anything in the overlays that differs from the sources.
bool show_changes(const Command& command, const std::string& overlays, const Target& target) {
  const Peeling after(request_for(command, overlays, overlay::Request::Kind::view), target.keys);
  const auto before = after.uncovered();
  std::vector<DeviceChange> changes = find_changes(*before, after, "", !command.quiet);
  std::erase_if(changes, [](const DeviceChange& change) { return !change.interesting(); });
  std::string text;
  print_changes(changes, command.verbose, text);
  if (!changes.empty()) say("peelfs: what has changed:\n" + text.substr(0, text.size() - 1));
  return !changes.empty();
}

void drop(const std::string& overlays) {
  for (const std::string& path : overlay::overlays_in(overlays)) ::unlink(path.c_str());
  ::rmdir(overlays.c_str());
}

void conclude(const Command& command, const std::string& overlays, Outcome outcome) {
  switch (outcome) {
    case Outcome::commit:
      commit_overlays(commit_request(command.from, overlays), command.quiet, true);
      ::rmdir(overlays.c_str());
      break;
    case Outcome::drop:
      drop(overlays);
      say("peelfs: the changes are dropped; the sources are as they were");
      break;
    default:
      explain_kept(command, overlays);
  }
}

int attempt(const Command& command) {
  Runner runner;  // before there is any key that it could inherit
  const Target target = find_target(command);
  if (target.missing != 0 && !command.quiet) {
    warn(target.name + " is one of several devices of a btrfs filesystem, of which " +
         std::to_string(target.missing) + " are in none of the sources");
  }
  // Whatever comes, the mount is ended and nothing is left lying about; what came is obeyed
  // afterwards.
  const Interruptible interruptible;
  const Workplace work;
  const bool own = command.keep.empty();
  const std::string overlays = own ? make_folder("/var/tmp") : fs::absolute(command.keep).string();
  int code = 0;
  try {
    code = run_on(command, runner, target, work, overlays);
  } catch (const Error&) {
    // What was written until then is worth looking at; what is empty is not.
    if (own && ::rmdir(overlays.c_str()) != 0) explain_kept(command, overlays);
    throw;
  }
  if (Interruptible::signal() != 0) {
    explain_kept(command, overlays);
    return code;
  }
  if (code == try_exit::not_found || code == try_exit::not_runnable) {
    warn(command.command_line.front() +
         (code == try_exit::not_found ? ": there is no such command" : " cannot be run"));
  }
  bool changed = true;
  try {
    changed = show_changes(command, overlays, target);
  } catch (const Error&) {
    explain_kept(command, overlays);
    throw;
  }
  if (!changed) {
    say("peelfs: nothing is changed");
    if (own) drop(overlays);
    return code;
  }
  const bool good = code == 0 || (code == 1 && is_checker(command.command_line.front()));
  Outcome outcome = command.outcome == Outcome::ask ? ask(good, overlays) : command.outcome;
  if (outcome == Outcome::commit && !good) {
    warn("not committed: the command has ended with " + std::to_string(code));
    outcome = Outcome::keep;
  }
  conclude(command, overlays, outcome);
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
