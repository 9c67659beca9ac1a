#include "mount/unmounter.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <vector>

#include "host/mountinfo.h"
#include "peelfs/error.h"

namespace peelfs {
namespace {

/// What the daemon tells the watcher: the mount's device number, or 0, which dismisses it.
using Order = dev_t;

bool read_whole(int fd, void* to, std::size_t size) noexcept {
  char* at = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t got = ::read(fd, at, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

bool write_whole(int fd, const void* from, std::size_t size) noexcept {
  const char* at = static_cast<const char*>(from);
  while (size > 0) {
    const ssize_t put = ::write(fd, at, size);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    at += put;
    size -= static_cast<std::size_t>(put);
  }
  return true;
}

[[noreturn]] void watch(int orders, const PinnedName& at) {
  // A name of its own, so that `killall -9 peelfs` does not end the watcher together with the
  // process that it watches.
  ::prctl(PR_SET_NAME, "fuse-unmounter", 0, 0, 0);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) std::signal(signal, SIG_IGN);
  Order device = 0;
  Order order = 0;
  bool dismissed = false;
  while (!dismissed && read_whole(orders, &order, sizeof(order))) {
    device = order;
    dismissed = order == 0;
  }
  if (!dismissed && device != 0) {
    try {
      const auto mounted = find_mount(at.path);
      if (mounted && mounted->device == device) unmount(at, true);
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): nobody is left to be told
    }
  }
  ::_exit(0);
}

}  // namespace

void unmount(const PinnedName& at, bool lazy) {
  if (::geteuid() != 0) {
    unmount(at.path, lazy);
    return;
  }
  const std::string target = "/proc/self/fd/" + std::to_string(at.parent) + "/" + at.name;
  if (::umount2(target.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) != 0) {
    throw Error::system(errno, "cannot unmount " + printable(at.path));
  }
}

void unmount(const std::string& mountpoint, bool lazy) {
  const std::string what = "cannot unmount " + printable(mountpoint);
  if (::geteuid() == 0) {
    if (::umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) != 0) {
      throw Error::system(errno, what);
    }
    return;
  }
  std::vector<std::string> arguments{"-u"};
  if (lazy) arguments.emplace_back("-z");
  arguments.emplace_back("--");
  arguments.push_back(mountpoint);
  const HelperResult result = run_helper("fusermount3", arguments);
  if (result.exit_code == 0) return;
  if (result.exit_code == 127) {
    throw Error(Fault::missing, what)
        .found(result.output)
        .expected("fusermount3, which unmounts for ordinary users")
        .advice("install the package fuse3, or unmount it as root");
  }
  // fusermount3 never leaves the C locale, so the text is always this one.
  const bool busy = result.output.find("Device or resource busy") != std::string::npos;
  throw Error(busy ? Fault::io : Fault::denied, what)
      .with_errno(busy ? EBUSY : EPERM)
      .found(result.output);
}

UnmountWatcher::UnmountWatcher(const PinnedName& at) {
  Pipe pipe = make_pipe();
  watcher_ = ::fork();
  if (watcher_ < 0) {
    throw Error::system(errno, "cannot start the process that unmounts after a crash");
  }
  if (watcher_ == 0) {
    ::setsid();
    // Closes all other descriptors: otherwise the pipe that the person's shell waits on, or a
    // terminal, would stay open for as long as the mount lives.
    constexpr int kFirst = STDERR_FILENO + 1;
    const int orders = ::fcntl(pipe.reader.get(), F_DUPFD, kFirst + 2);
    const int parent = ::fcntl(at.parent, F_DUPFD, kFirst + 2);
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, STDIN_FILENO);
    ::dup2(null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
    if (::dup2(orders, kFirst) < 0 || ::dup2(parent, kFirst + 1) < 0 ||
        ::close_range(kFirst + 2, ~0U, 0) != 0 || ::chdir("/") != 0) {
      ::_exit(1);
    }
    PinnedName here = at;
    here.parent = kFirst + 1;
    watch(kFirst, here);
  }
  to_watcher_ = std::move(pipe.writer);
}

UnmountWatcher::~UnmountWatcher() {
  dismiss();
}

void UnmountWatcher::arm(dev_t device) {
  write_whole(to_watcher_.get(), &device, sizeof(device));
}

void UnmountWatcher::dismiss() noexcept {
  if (watcher_ < 0) return;
  const Order nothing = 0;
  write_whole(to_watcher_.get(), &nothing, sizeof(nothing));
  to_watcher_.reset();
  while (::waitpid(watcher_, nullptr, 0) < 0 && errno == EINTR) {
  }
  watcher_ = -1;
}

}  // namespace peelfs
