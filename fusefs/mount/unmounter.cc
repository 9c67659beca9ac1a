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

/// What the daemon tells the watcher: the device number, then the path up to the end of the
/// message. An empty message dismisses it.
struct Order {
  dev_t device = 0;
  std::string mountpoint;
};

constexpr std::size_t order_limit = sizeof(dev_t) + 4096;

bool read_whole(int fd, void* to, std::size_t size) noexcept {
  char* at = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t got = ::read(fd, at, size);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return false;
    }
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

bool write_whole(int fd, const void* from, std::size_t size) noexcept {
  const char* at = static_cast<const char*>(from);
  while (size > 0) {
    const ssize_t put = ::write(fd, at, size);
    if (put < 0 && errno == EINTR) {
      continue;
    }
    if (put <= 0) {
      return false;
    }
    at += put;
    size -= static_cast<std::size_t>(put);
  }
  return true;
}

[[noreturn]] void watch(int orders) {
  // A name of its own, so that `killall -9 peelfs` does not end the watcher with the watched.
  ::prctl(PR_SET_NAME, "fuse-unmounter", 0, 0, 0);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) {
    std::signal(signal, SIG_IGN);
  }
  Order order;
  bool dismissed = false;
  std::uint32_t size = 0;
  while (!dismissed && read_whole(orders, &size, sizeof(size))) {
    if (size < sizeof(dev_t) || size > order_limit) {
      dismissed = true;
      break;
    }
    std::vector<char> message(size);
    if (!read_whole(orders, message.data(), size)) {
      break;
    }
    std::memcpy(&order.device, message.data(), sizeof(dev_t));
    order.mountpoint.assign(message.begin() + sizeof(dev_t), message.end());
  }
  if (!dismissed && !order.mountpoint.empty()) {
    try {
      const auto mounted = find_mount(order.mountpoint);
      if (mounted && mounted->device == order.device) {
        unmount(order.mountpoint, true);
      }
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): nobody is left to be told
    }
  }
  ::_exit(0);
}

}  // namespace

void unmount(const std::string& mountpoint, bool lazy) {
  const std::string what = "cannot unmount " + printable(mountpoint);
  if (::geteuid() == 0) {
    if (::umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) != 0) {
      throw Error::system(errno, what);
    }
    return;
  }
  std::vector<std::string> arguments{"-u"};
  if (lazy) {
    arguments.emplace_back("-z");
  }
  arguments.emplace_back("--");
  arguments.push_back(mountpoint);
  const HelperResult result = run_helper("fusermount3", arguments);
  if (result.exit_code == 0) {
    return;
  }
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

UnmountWatcher::UnmountWatcher() {
  Pipe pipe = make_pipe();
  watcher_ = ::fork();
  if (watcher_ < 0) {
    throw Error::system(errno, "cannot start the process that unmounts after a crash");
  }
  if (watcher_ == 0) {
    ::setsid();
    // Whatever else this process holds (the pipe that the person's shell waits on, a terminal)
    // would be kept open for as long as the mount lives.
    const int orders = ::dup2(pipe.reader.get(), STDERR_FILENO + 1);
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, STDIN_FILENO);
    ::dup2(null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
    if (orders < 0 || ::close_range(STDERR_FILENO + 2, ~0U, 0) != 0 || ::chdir("/") != 0) {
      ::_exit(1);
    }
    watch(orders);
  }
  to_watcher_ = std::move(pipe.writer);
}

UnmountWatcher::~UnmountWatcher() {
  dismiss();
}

void UnmountWatcher::arm(const std::string& mountpoint, dev_t device) {
  std::vector<char> message(sizeof(std::uint32_t) + sizeof(dev_t));
  const auto size = static_cast<std::uint32_t>(sizeof(dev_t) + mountpoint.size());
  std::memcpy(message.data(), &size, sizeof(size));
  std::memcpy(message.data() + sizeof(size), &device, sizeof(device));
  message.insert(message.end(), mountpoint.begin(), mountpoint.end());
  write_whole(to_watcher_.get(), message.data(), message.size());
}

void UnmountWatcher::dismiss() noexcept {
  if (watcher_ < 0) {
    return;
  }
  const std::uint32_t nothing = 0;
  write_whole(to_watcher_.get(), &nothing, sizeof(nothing));
  to_watcher_.reset();
  while (::waitpid(watcher_, nullptr, 0) < 0 && errno == EINTR) {
  }
  watcher_ = -1;
}

}  // namespace peelfs
