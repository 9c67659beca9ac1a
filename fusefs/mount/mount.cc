#include "mount/mount.h"

#include <malloc.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <new>
#include <thread>

#include "host/shown_file.h"
#include "mount/control_server.h"
#include "mount/descriptors.h"
#include "mount/fuse_server.h"
#include "mount/log.h"
#include "mount/preflight.h"
#include "mount/process.h"
#include "mount/session.h"
#include "mount/status.h"
#include "mount/unmounter.h"
#include "peel/peeling.h"
#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs {
namespace {

void say(const std::string& text) {
  std::fprintf(stderr, "peelfs: %s\n", text.c_str());
}

int exit_code_for(const Error& error) {
  switch (error.fault()) {
    case Fault::usage:
      return mount_exit::kUsage;
    case Fault::denied:
      return error.error_number() == EBUSY ? mount_exit::kFailed : mount_exit::kUsage;
    default:
      return error.error_number() == ENOMEM ? mount_exit::kSystem : mount_exit::kFailed;
  }
}

/// Says what was thrown. @return the exit code for it
template <typename Body>
int reported(const Body& body) {
  try {
    return body();
  } catch (const Error& error) {
    say(error.what());
    return exit_code_for(error);
  } catch (const std::bad_alloc&) {
    say("out of memory");
    return mount_exit::kSystem;
  } catch (const std::exception& error) {
    say(printable(error.what()));
    return mount_exit::kSystem;
  }
}

/// The parent's end of a pipe on which the daemon says, with one byte, how mounting went.
class Readiness {
 public:
  Readiness() = default;
  explicit Readiness(UniqueFd writer) : writer_(std::move(writer)) {}
  void report(int exit_code) noexcept {
    if (writer_) {
      const auto byte = static_cast<unsigned char>(exit_code);
      [[maybe_unused]] const ssize_t ignored = ::write(writer_.get(), &byte, 1);
      writer_.reset();
    }
  }

 private:
  UniqueFd writer_;
};

/// SIGINT, SIGTERM and SIGHUP as a descriptor: from here on they end the mount in order.
UniqueFd take_signals() {
  sigset_t ending;
  sigemptyset(&ending);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&ending, signal);
  sigset_t blocked = ending;
  sigaddset(&blocked, SIGUSR1);
  sigaddset(&blocked, SIGPIPE);
  sigaddset(&blocked, SIGXFSZ);  // a write beyond the limit of this process fails, and that is all
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  UniqueFd signals(::signalfd(-1, &ending, SFD_CLOEXEC));
  if (!signals) throw Error::system(errno, "cannot wait for signals");
  return signals;
}

/// Makes everything durable that was written. @return what went wrong; empty: nothing
std::string flush_all(FuseServer& server) {
  std::string text;
  if (Writing* const writing = server.writing()) {
    for (const std::string& failure : writing->flush_all()) {
      text += (text.empty() ? "" : "; ") + failure;
    }
  }
  return text;
}

control::Answer handle(Peeling& peeling, FuseServer& server, Session& session,
                       const WritePolicy& policy, control::Request& request) {
  control::Answer answer;
  switch (request.verb) {
    case control::Verb::ping:
      break;
    case control::Verb::unmount:
      if (const std::string failures = flush_all(server); !failures.empty()) {
        throw Error(Fault::io, failures)
            .advice("look into the host's kernel log; 'peelfs umount --lazy' gives them up");
      }
      break;
    case control::Verb::locked:
      for (const Catalog::Entry& entry : peeling.locked()) answer.text += entry.name + '\n';
      break;
    case control::Verb::opened:
      for (const std::string& path : opened_paths()) answer.text += path + '\0';
      break;
    case control::Verb::status:
      answer.text = status_text(peeling, policy, request.text == "tree");
      break;
    case control::Verb::unlock: {
      std::optional<std::string> refused;
      ViewChanges changes;
      const auto unlock = [&] {
        refused =
            peeling.unlock(request.text, Credential(std::move(request.key), request.key_kind));
        // A refused key may have changed a reason that status.json shows.
        changes = server.refresh();
      };
      const auto view = server.view();
      const Catalog::Entry* const entry = view->catalog().find(request.text);
      if (server.writing() != nullptr && entry != nullptr) {
        server.writing()->around_unlock(entry->node->id, unlock);
      } else {
        unlock();
      }
      session.forget(changes);
      log_message(LogLevel::info,
                  "unlock of " + request.text + ": " + refused.value_or("it is open now"));
      if (refused) {
        answer.outcome = control::Outcome::refused;
        answer.text = *refused;
      }
      break;
    }
  }
  return answer;
}

void wait_for_end(const UniqueFd& signals, const Session& session) {
  pollfd watched[] = {{signals.get(), POLLIN, 0}, {session.ended_fd(), POLLIN, 0}};
  while (::poll(watched, 2, -1) < 0 && errno == EINTR) {
  }
  if (watched[0].revents != 0) {
    signalfd_siginfo signal{};
    if (::read(signals.get(), &signal, sizeof(signal)) == sizeof(signal)) {
      log_message(LogLevel::info, "ending on signal " + std::to_string(signal.ssi_signo));
    }
  }
}

/// From the end of the mount on: once everything that was written is durable, requests that hang
/// with their source do not keep the process alive.
class EndClock {
 public:
  EndClock(FuseServer& server, Session& session, int exit_code)
      : thread_([this, &server, &session, exit_code] { run(server, session, exit_code); }) {}
  ~EndClock() {
    {
      const MutexLock lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  EndClock(const EndClock&) = delete;
  EndClock& operator=(const EndClock&) = delete;

 private:
  void run(FuseServer& server, Session& session, int exit_code) {
    {
      UniqueLock lock(mutex_);
      if (changed_.wait_for(lock, kEndPatience,
                            [this]() PEELFS_REQUIRES(mutex_) { return ended_; })) {
        return;
      }
    }
    session.detach();
    const std::string failures = flush_all(server);
    const MutexLock lock(mutex_);
    if (ended_) return;
    log_message(LogLevel::warning,
                "a source does not answer: the process ends with requests under way");
    ::_exit(failures.empty() ? exit_code : mount_exit::kFailed);
  }

  static constexpr std::chrono::seconds kEndPatience{10};
  Mutex mutex_;
  Condition changed_;
  bool ended_ PEELFS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

WritePolicy policy_of(const MountOptions& options) {
  return {!options.read_only, options.writable_containers};
}

InodeTable::Owner owner_of(const MountOptions& options) {
  InodeTable::Owner owner;
  owner.user = ::getuid();
  owner.group = ::getgid();
  owner.everybody = options.allow_other;
  owner.policy = policy_of(options);
  ::clock_gettime(CLOCK_REALTIME, &owner.mounted);
  return owner;
}

/// Everything from opening the sources to the end of the mount, in the process that serves it.
int serve(const MountOptions& options, const MountPoint& mountpoint,
          const std::function<std::shared_ptr<Peeling>()>& open, Readiness& readiness) {
  protect_memory();
  raise_descriptor_limit();
  // Clients that wait for the end of the mount see it when these close, so they close after
  // everything below.
  std::vector<UniqueFd> waiting;
  std::optional<UnmountWatcher> watcher;
  if (options.auto_unmount) watcher.emplace(mountpoint.pinned());
  LogFile log_file(options.log_file);
  if (!log_file.named()) open_log(UniqueFd(), !options.foreground, options.debug);
  announce_mount();
  const std::shared_ptr<Peeling> peeling = open();
  ::malloc_trim(0);
  if (log_file.named()) open_log(log_file.use(), !options.foreground, options.debug);
  close_all_inherited();
  for (const std::string& warning : peeling->warnings()) {
    if (!options.quiet) say("warning: " + printable(warning));
  }
  int success = peeling->complete() ? mount_exit::kOk : mount_exit::kPartial;

  FuseServer server(peeling, owner_of(options), fuse_options(options).max_read, options.threads);
  const UniqueFd signals = take_signals();
  Session session(server, options, mountpoint);
  announce_mount(session.device());
  ControlServer control(session.device());
  if (watcher) watcher->arm(session.device());
  if (!options.read_only) {
    server.start_writing({[&](InodeNumber inode) { session.invalidate(inode); }, nullptr,
                          [&](const ViewChanges& changes) { session.forget(changes); }});
  }
  session.start();
  const WritePolicy policy = policy_of(options);
  control.start([&](control::Request& request) {
    return handle(*peeling, server, session, policy, request);
  });
  if (!options.foreground) {
    ::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    leave_terminal();
  }
  readiness.report(success);

  wait_for_end(signals, session);
  const EndClock clock(server, session, success);
  if (!control.stop()) {
    // A key derivation is still at work on what would be destroyed here: the kernel closes
    // everything.
    session.detach();
    if (watcher) watcher->dismiss();
    ::_exit(flush_all(server).empty() ? success : mount_exit::kFailed);
  }
  if (Writing* const writing = server.writing()) writing->stop();
  session.end();
  if (const std::string failures = flush_all(server); !failures.empty()) {
    if (options.foreground) say(failures);
    success = mount_exit::kFailed;
  }
  if (watcher) watcher->dismiss();
  waiting = control.take_waiting();
  return success;
}

/// The exit code that the child reports, or its own if it ends before it reports one.
int wait_for_child(pid_t child, const UniqueFd& reader) {
  unsigned char code = 0;
  ssize_t got = 0;
  do {
    got = ::read(reader.get(), &code, 1);
  } while (got < 0 && errno == EINTR);
  if (got == 1) return code;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) {
    return WEXITSTATUS(status) == 0 ? mount_exit::kSystem : WEXITSTATUS(status);
  }
  say("the process that should serve the mount was ended by signal " +
      std::to_string(WTERMSIG(status)));
  return mount_exit::kSystem;
}

}  // namespace

int run_mount(const MountOptions& options, const std::function<std::shared_ptr<Peeling>()>& open) {
  open_standard_descriptors();
  return reported([&] {
    const MountPoint mountpoint = check_mount(options);
    if (options.foreground) {
      Readiness nobody;
      return serve(options, mountpoint, open, nobody);
    }
    Pipe pipe = make_pipe();
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child < 0) {
      throw Error::system(errno, "cannot start the process that serves the mount")
          .with_errno(ENOMEM);
    }
    if (child > 0) {
      pipe.writer.reset();
      return wait_for_child(child, pipe.reader);
    }
    pipe.reader.reset();
    // If the waiting parent ends early (by Ctrl-C, say), the mount ends, too. Once it is ready it
    // does not depend on the parent.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    Readiness readiness(std::move(pipe.writer));
    const int code = reported([&] { return serve(options, mountpoint, open, readiness); });
    readiness.report(code);
    std::exit(code);
  });
}

}  // namespace peelfs
