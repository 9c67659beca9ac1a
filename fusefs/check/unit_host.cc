#include "check/unit_host.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <map>
#include <sstream>
#include <thread>

#include "check/fleet_plan.h"
#include "jobs/background.h"
#include "jobs/orders.h"
#include "jobs/relatives.h"
#include "jobs/workplace.h"
#include "mount/log.h"
#include "mount/mount.h"
#include "peelfs/error.h"

namespace peelfs::check {
namespace {

constexpr std::string_view kMounted = "mounted";
constexpr std::string_view kFailed = "failed";
constexpr std::string_view kBusy = "busy";

extern "C" void do_nothing(int /*number*/) {}

/// A signal does not end the process that must take the mount away; it ends its mount in order.
void take_signals() {
  struct sigaction action {};
  action.sa_handler = do_nothing;
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaction(number, &action, nullptr);
}

void leave_signals() {
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) std::signal(number, SIG_DFL);
}

using Places = std::map<std::string, const Catalog::Entry*>;

Places places_in(const Catalog& catalog) {
  Places places;
  for (const Catalog::Entry& entry : catalog.devices()) {
    places.emplace(place_of(catalog.tree(), *entry.node), &entry);
  }
  return places;
}

/// Whether the same program checks what is there now: e2fsck can make an ext2 of an ext3.
bool is_kin(const Node& node, const HostDevice& before) {
  const Checker* const now = checker_of(node.identity.type);
  const Checker* const then = checker_of(before.fstype);
  return now != nullptr && then != nullptr && now->program == then->program;
}

/// What is not as it was when the plan was made; empty: nothing.
std::string changed(const Catalog& catalog, const Catalog::Entry& entry, const HostDevice& before) {
  const Node& node = *entry.node;
  const std::string begin = "it has changed since it was looked at: ";
  if (node.device->size() != before.size) return begin + "its size";
  if (node.identity.type != before.fstype && !(before.after_repair && is_kin(node, before))) {
    return begin + "what is on it";
  }
  // e2fsck gives a UUID to a filesystem that has none.
  if (node.identity.uuid != before.uuid && !before.after_repair) return begin + "its UUID";
  if (node.trouble && cannot_be_read(node.trouble->state)) return begin + text_of(*node.trouble);
  try {
    const jobs::Relatives relatives = jobs::relatives_of(catalog, entry);
    if (!relatives.missing.empty()) return begin + relatives.what + ", and " + relatives.missing;
    if (relatives.devices.size() != before.others + 1) {
      return begin + "the devices that belong to it";
    }
    for (const std::uint64_t id : relatives.devices) {
      const auto& trouble = catalog.tree().at(id).trouble;
      if (trouble && cannot_be_read(trouble->state)) {
        return begin + catalog.name_of(id) + ": " + text_of(*trouble);
      }
    }
  } catch (const Error& error) {
    return begin + error.what();
  }
  return "";
}

/// The names of the devices in this mount, and what libblkid is to know beside each.
std::vector<std::string> describe(const Catalog& catalog, const Places& places,
                                  const HostDevice& device, const std::string& mountpoint) {
  const auto found = places.find(device.place);
  if (found == places.end()) return {"", "it was not there when it was looked at again"};
  const Catalog::Entry& entry = *found->second;
  if (const std::string change = changed(catalog, entry, device); !change.empty()) {
    return {"", change};
  }
  std::vector<std::string> list{entry.name, ""};
  const auto add = [&](const world::ListedDevice& one) {
    list.insert(list.end(), {one.path, one.type, one.uuid, one.label});
  };
  if (device.alone) {
    const Identity& identity = entry.node->identity;
    add({mountpoint + "/" + entry.name, identity.type, identity.uuid, identity.label});
  } else {
    std::ranges::for_each(jobs::listed_with(catalog, entry, mountpoint), add);
  }
  return list;
}

/// A file without a name, for what one process tells another that does not read yet.
UniqueFd make_note() {
  UniqueFd note(::memfd_create("peelfs", MFD_CLOEXEC));
  if (!note) throw Error::system(errno, "cannot make a file in memory");
  return note;
}

/// Until nothing uses it any more; what hangs is left to the lazy end of the mount.
std::string unmount(const std::string& mountpoint) {
  constexpr int kTries = 100;
  for (int i = 0;; ++i) {
    try {
      request_unmount(mountpoint);
      return "";
    } catch (const Error& error) {
      if (error.error_number() != EBUSY || i == kTries) {
        try {
          UnmountOptions lazy;
          lazy.lazy = true;
          request_unmount(mountpoint, lazy);
        } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the first reason is the better
        }
        return error.what();
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

/// @throws Error; that a source is in use is noted
std::shared_ptr<Peeling> open(const HostOrder& order, const UniqueFd& note) {
  try {
    return std::make_shared<Peeling>(order.request, order.keys);
  } catch (const Error& error) {
    if (error.error_number() == EBUSY) {
      jobs::send_list(note.get(), {std::string(kBusy), error.what()});
    }
    throw;
  }
}

constexpr char kEnd = 'e';

/// Reports what is mounted, and waits to be told to end.
/// @return whether it was: the process that asked for it has ended otherwise
bool tell_and_wait(const HostOrder& order, int control, const UniqueFd& described,
                   const jobs::Workplace& work) {
  ::lseek(described.get(), 0, SEEK_SET);
  jobs::send_list(control, {std::string(kMounted), work.mountpoint(), work.world()});
  for (std::size_t i = 0; i < order.devices.size(); ++i) {
    std::vector<std::string> list;
    if (!jobs::receive_list(described.get(), list)) list = {"", "nothing was said of it"};
    jobs::send_list(control, list);
  }
  char byte = 0;
  ssize_t got = 0;
  while ((got = ::read(control, &byte, 1)) < 0 && errno == EINTR) {
  }
  return got == 1 && byte == kEnd;
}

/// Mounts, reports, and ends the mount.
/// @param failures a file for note_failures_in()
void serve(const HostOrder& order, int control, int failures) {
  const jobs::Workplace work("fsck");
  std::string failure;
  bool is_told = false;
  {
    jobs::Lifeline lifeline;
    const UniqueFd described = make_note();
    MountOptions options;
    options.mountpoint = work.mountpoint();
    options.fsname = order.fsname;
    options.read_only = std::ranges::none_of(order.devices, &HostDevice::written);
    options.quiet = true;
    CapturedErrors errors;
    // The callback runs in the process that will serve the mount, before that looks at `options`.
    const int code = run_mount(options, [&] {
      leave_signals();
      note_failures_in(failures);
      lifeline.end_mount_without_us(work.path(), order.worthless_overlays,
                                    jobs::Lifeline::Overlays::worthless);
      auto peeling = open(order, described);
      const auto catalog = peeling->catalog();
      const Places places = places_in(*catalog);
      for (const HostDevice& device : order.devices) {
        jobs::send_list(described.get(), describe(*catalog, places, device, work.mountpoint()));
        const auto found = places.find(device.place);
        if (!device.written || found == places.end()) continue;
        options.writable_containers.push_back(found->second->name);
      }
      return peeling;
    });
    const std::string said = errors.finish();
    if (code != mount_exit::kOk && code != mount_exit::kPartial) {
      std::vector<std::string> note;
      ::lseek(described.get(), 0, SEEK_SET);
      if (!jobs::receive_list(described.get(), note) || note.front() != kBusy) {
        note = {std::string(kFailed), said.empty() ? "the sources could not be mounted" : said};
      }
      jobs::send_list(control, note);
      return;
    }
    // Whatever becomes of the process that asked for it: the mount is ended below.
    try {
      is_told = tell_and_wait(order, control, described, work);
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): it asks for nothing any more
    }
    failure = unmount(work.mountpoint());
  }
  if (!is_told && !order.worthless_overlays.empty()) {
    try {
      jobs::remove_overlays(order.worthless_overlays);
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): what cannot be removed stays
    }
  }
  jobs::send_list(control, {failure});
}

[[noreturn]] void be_host(const HostOrder& order, UniqueFd control, int failures,
                          const std::vector<int>& others, pid_t parent) {
  ::setpgid(0, 0);  // Ctrl-C is for the process that has the terminal
  take_signals();
  std::signal(SIGPIPE, SIG_IGN);
  for (const int fd : others) ::close(fd);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
  if (::getppid() != parent) ::_exit(0);
  if (order.background) jobs::yield_to_others();
  try {
    serve(order, control.get(), failures);
  } catch (const Error& error) {
    try {
      jobs::send_list(control.get(), {std::string(kFailed), error.what()});
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): it asks for nothing any more
    }
  }
  ::_exit(0);
}

}  // namespace

UnitHost::UnitHost(const HostOrder& order, const std::vector<int>& others)
    : devices_(order.devices.size()) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    throw Error::system(errno, "cannot make a socket for a mount");
  }
  control_.reset(pair[0]);
  UniqueFd theirs(pair[1]);
  failures_ = make_note();
  ::fcntl(failures_.get(), F_SETFL, O_APPEND);
  const pid_t self = ::getpid();
  process_ = ::fork();
  if (process_ < 0) throw Error::system(errno, "cannot start a process for a mount");
  if (process_ > 0) ::setpgid(process_, process_);  // whoever of the two comes first
  if (process_ == 0) {
    control_.reset();
    be_host(order, std::move(theirs), failures_.get(), others, self);
  }
}

UnitHost::~UnitHost() {
  control_.reset();
  if (process_ > 0) ::waitpid(process_, nullptr, 0);
}

HostReport UnitHost::report() {
  HostReport report;
  reported_ = true;
  std::vector<std::string> list;
  if (!jobs::receive_list(control_.get(), list) || list.empty()) {
    report.failure = "the process that mounts the sources has ended";
    return report;
  }
  if (list.front() != kMounted || list.size() != 3) {
    report.failure = list.back();
    report.is_busy = list.front() == kBusy;
    return report;
  }
  report.mountpoint = list[1];
  report.world = list[2];
  for (std::size_t i = 0; i < devices_; ++i) {
    MountedDevice device;
    if (!jobs::receive_list(control_.get(), list) || list.empty()) {
      list = {"", "nothing was said of it"};
    }
    device.name = list.front();
    if (list.size() > 1) device.why = list[1];
    for (std::size_t at = 2; at + 4 <= list.size(); at += 4) {
      device.relatives.push_back({list[at], list[at + 1], list[at + 2], list[at + 3]});
    }
    report.devices.push_back(std::move(device));
  }
  return report;
}

std::string UnitHost::failure_of(const std::set<std::string>& names) const {
  struct stat status {};
  if (::fstat(failures_.get(), &status) != 0 || status.st_size == 0) return "";
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  const ssize_t got = ::pread(failures_.get(), text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  std::istringstream notes(text);
  std::string device;
  std::string what;
  while (std::getline(notes, device, '\0') && std::getline(notes, what, '\0')) {
    if (!names.contains(device)) continue;
    device.append(": ").append(what);
    return device;
  }
  return "";
}

void UnitHost::end(bool now) noexcept {
  if (now && process_ > 0) ::kill(-process_, SIGTERM);
  [[maybe_unused]] const ssize_t ignored = ::send(control_.get(), &kEnd, 1, MSG_NOSIGNAL);
  ::shutdown(control_.get(), SHUT_WR);
}

std::string UnitHost::wait() {
  // A report that nobody asked for comes first.
  const bool is_mounted = reported_ || report().failure.empty();
  std::vector<std::string> list;
  const bool said = is_mounted && jobs::receive_list(control_.get(), list);
  control_.reset();
  if (process_ > 0) ::waitpid(process_, nullptr, 0);
  process_ = -1;
  return said && !list.empty() ? list.front() : "";
}

}  // namespace peelfs::check
