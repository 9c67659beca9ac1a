#include "mount/session.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <fstream>

#include "host/mountinfo.h"
#include "mount/mounter.h"
#include "mount/operations.h"
#include "mount/preflight.h"
#include "mount/unmounter.h"
#include "peelfs/error.h"

namespace peelfs {
namespace {

/// The signal that wakes libfuse's main loop out of its semaphore; no other code in the process
/// uses it.
constexpr int kWakeSignal = SIGUSR1;
constexpr std::chrono::seconds kInitPatience{20};

/// While mounting, what libfuse prints goes to standard error, which is captured; later to the log.
bool log_is_up = false;

[[gnu::format(printf, 2, 0)]] void log_from_fuse(fuse_log_level level, const char* format,
                                                 va_list arguments) {
  std::array<char, 512> text{};
  const int length = std::vsnprintf(text.data(), text.size(), format, arguments);
  if (length <= 0) return;
  std::string_view line(text.data(), std::min<std::size_t>(static_cast<std::size_t>(length), 511));
  while (!line.empty() && line.back() == '\n') line.remove_suffix(1);
  if (log_is_up) {
    log_message(level <= FUSE_LOG_ERR       ? LogLevel::error
                : level <= FUSE_LOG_WARNING ? LogLevel::warning
                                            : LogLevel::debug,
                line);
  } else {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
  }
}

/// How many of libfuse's threads stay when there is nothing to do.
constexpr unsigned kIdleThreads = 64;

/// Sessions and arguments of libfuse are C objects.
struct Arguments {
  fuse_args list = FUSE_ARGS_INIT(0, nullptr);
  Arguments() = default;
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;
  ~Arguments() { fuse_opt_free_args(&list); }
  void add(const std::string& argument) {
    if (fuse_opt_add_arg(&list, argument.c_str()) != 0) throw std::bad_alloc();
  }
};

/// Larger reads into the page cache than the 128 KiB that Linux starts with. Only root may set it.
void widen_read_ahead(dev_t device) {
  if (::geteuid() != 0) return;
  std::ofstream file("/sys/class/bdi/" + std::to_string(major(device)) + ":" +
                     std::to_string(minor(device)) + "/read_ahead_kb");
  file << kMaxReadSize / 1024 << std::flush;
}

std::string advice_for(const std::string& output, const MountOptions& options) {
  if (options.allow_other && output.find("user_allow_other") != std::string::npos) {
    return "ask the administrator to add user_allow_other to /etc/fuse.conf, or leave out "
           "allow_other";
  }
  if (output.find("Operation not permitted") != std::string::npos) {
    return "fusermount3 must be set-user-id root (package fuse3), and in a container mounting must "
           "be "
           "allowed (--device /dev/fuse --cap-add SYS_ADMIN)";
  }
  if (output.find("too many FUSE filesystems") != std::string::npos) {
    return "unmount some, or ask the administrator to raise mount_max in /etc/fuse.conf";
  }
  return "peelfs ls, cat and export work without a mount";
}

}  // namespace

Session::Session(FuseServer& server, const MountOptions& options, const MountPoint& mountpoint)
    : server_(server), mountpoint_(mountpoint), ended_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  mountpoint_.check_unmoved();
  Arguments arguments;
  arguments.add("peelfs");
  const FuseOptions mount_options = fuse_options(options);
  for (const std::string& option : mount_options.list) {
    arguments.add("-o");
    arguments.add(escape_option(option));
  }
  if (options.debug) {
    arguments.add("-d");  // libfuse then logs every request
  }
  log_is_up = false;
  fuse_set_log_func(log_from_fuse);
  CapturedErrors captured;
  session_ = fuse_session_new(&arguments.list, &FuseServer::operations(), sizeof(fuse_lowlevel_ops),
                              &server_);
  std::string why;
  bool mounted = false;
  if (session_ != nullptr) {
    const int connection = mount_fuse(mountpoint_, mount_options, why);
    // libfuse uses the connection that is there already, and does not mount itself.
    mounted = connection >= 0 &&
              fuse_session_mount(session_, ("/dev/fd/" + std::to_string(connection)).c_str()) == 0;
  }
  std::string output = captured.finish();
  output += (output.empty() || why.empty() ? "" : "; ") + why;
  log_is_up = true;
  if (!mounted) {
    if (session_ != nullptr) fuse_session_destroy(session_);
    throw Error(Fault::denied, "cannot mount on " + printable(mountpoint_.path()))
        .found(output.empty() ? "no reason from libfuse" : output)
        .advice(advice_for(output, options));
  }
  if (const auto entry = find_mount(mountpoint_.path())) device_ = entry->device;
}

Session::~Session() {
  end();
}

void Session::run() {
  sigset_t wake;
  sigemptyset(&wake);
  sigaddset(&wake, kWakeSignal);
  pthread_sigmask(SIG_UNBLOCK, &wake, nullptr);
  fuse_loop_config* const config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, 1);
  fuse_loop_cfg_set_max_threads(config, server_.threads());
  fuse_loop_cfg_set_idle_threads(config, kIdleThreads);
  loop_result_ = fuse_session_loop_mt(session_, config);
  fuse_loop_cfg_destroy(config);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(ended_.get(), &one, sizeof(one));
}

void Session::start() {
  struct sigaction action {};
  action.sa_handler = [](int) {};  // without SA_RESTART: it is there to interrupt
  sigaction(kWakeSignal, &action, nullptr);
  loop_ = std::thread([this] { run(); });
  const auto deadline = std::chrono::steady_clock::now() + kInitPatience;
  while (!server_.ready()) {
    pollfd ended{ended_.get(), POLLIN, 0};
    if (::poll(&ended, 1, 1) > 0 || std::chrono::steady_clock::now() > deadline) {
      throw Error(Fault::io,
                  "the kernel did not accept the mount at " + printable(mountpoint_.path()))
          .found("the session has ended with " + std::to_string(loop_result_.load()))
          .expected("a FUSE protocol of version 7")
          .advice("see the kernel's log (dmesg)");
    }
  }
  widen_read_ahead(device_);
}

void Session::forget(const ViewChanges& changes) {
  for (const ViewChanges::Name& gone : changes.names) {
    fuse_lowlevel_notify_inval_entry(session_, gone.directory, gone.name.c_str(), gone.name.size());
  }
  for (const InodeNumber number : changes.contents) {
    fuse_lowlevel_notify_inval_inode(session_, number, 0, 0);
  }
  for (const InodeNumber number : changes.directories) {
    fuse_lowlevel_notify_inval_inode(session_, number, -1, 0);
  }
}

void Session::invalidate(InodeNumber inode) {
  const int result = fuse_lowlevel_notify_inval_inode(session_, inode, 0, 0);
  // An inode that the kernel does not know has no pages.
  if (result != 0 && result != -ENOENT) {
    log_message(LogLevel::warning, "the kernel keeps pages of a file that has changed: error " +
                                       std::to_string(-result));
  }
}

bool Session::still_mounted() const noexcept {
  try {
    const auto entry = find_mount(mountpoint_.path());
    return entry && entry->device == device_;
  } catch (const std::exception&) {
    return false;
  }
}

void Session::detach() noexcept {
  try {
    if (still_mounted()) unmount(mountpoint_.pinned(), true);
  } catch (const std::exception& error) {
    log_message(LogLevel::error, error.what());
  }
}

void Session::end() noexcept {
  if (session_ == nullptr) return;
  if (loop_.joinable()) {
    fuse_session_exit(session_);
    // The loop looks at the flag, then sleeps: a signal in between is lost, so it is sent again.
    pollfd ended{ended_.get(), POLLIN, 0};
    do {
      pthread_kill(loop_.native_handle(), kWakeSignal);
    } while (::poll(&ended, 1, 20) <= 0);
    loop_.join();
    if (loop_result_ < 0) {
      log_message(LogLevel::error,
                  "the FUSE session has ended with error " + std::to_string(-loop_result_.load()));
    }
  }
  // The connection is closed first: no thread answers requests any more, and an unmount must not
  // wait for answers. After a lazy unmount another filesystem may be mounted there by now; that
  // stays.
  fuse_session_destroy(session_);
  session_ = nullptr;
  detach();
}

}  // namespace peelfs
