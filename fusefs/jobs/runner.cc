#include "jobs/runner.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "jobs/handed_signals.h"
#include "jobs/orders.h"
#include "jobs/runner_process.h"
#include "peelfs/error.h"

namespace peelfs::jobs {
namespace {

/// Gives the terminal back to this process's group: a shell that ran in a world cannot name it.
class Foreground {
 public:
  Foreground() : ours_(::tcgetpgrp(STDIN_FILENO) == ::getpgrp()) {}
  ~Foreground() {
    if (!ours_) return;
    struct sigaction ignore {};
    struct sigaction before {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGTTOU, &ignore, &before);
    ::tcsetpgrp(STDIN_FILENO, ::getpgrp());
    ::sigaction(SIGTTOU, &before, nullptr);
  }
  Foreground(const Foreground&) = delete;
  Foreground& operator=(const Foreground&) = delete;

 private:
  const bool ours_;
};

}  // namespace

Runner::Runner(const std::set<int>& withheld) {
  Pipe orders = make_pipe();
  Pipe report = make_pipe();
  const pid_t self = ::getpid();
  child_ = ::fork();
  if (child_ < 0) throw Error::system(errno, "cannot start a process for the command");
  if (child_ == 0) carry_out(self, std::move(orders.reader), std::move(report.writer), withheld);
  orders_ = std::move(orders.writer);
  report_ = std::move(report.reader);
}

int Runner::ended_by() noexcept {
  return HandedSignals::last();
}

void Runner::kill() noexcept {
  const pid_t child = child_;
  if (child > 0) ::kill(child, SIGKILL);
}

void Runner::let_go() {
  orders_.reset();
  report_.reset();
  child_ = -1;
}

Runner::~Runner() {
  orders_.reset();
  if (child_ > 0) ::waitpid(child_, nullptr, 0);
}

Ending Runner::run(const Order& order) {
  const Foreground foreground;
  const HandedSignals signals(child_);
  send_list(orders_.get(), order.words);
  send_list(orders_.get(), world::to_words(order.world));
  send_list(orders_.get(),
            order.only_in_world ? std::vector<std::string>{""} : std::vector<std::string>{});
  std::vector<std::string> withheld;
  for (const int fd : order.withheld) withheld.push_back(std::to_string(fd));
  send_list(orders_.get(), withheld);
  std::string said = read_to_end(report_.get());
  int status = 0;
  while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
  }
  child_ = -1;
  Ending ending;
  if (said.starts_with(report::kOutside)) {
    const std::size_t end = said.find('\0');
    ending.no_world = said.substr(1, end - 1);
    said.erase(0, end + 1);
  }
  if (said.starts_with(report::kNoWorld)) {
    throw Error(Fault::denied, "the command cannot be kept away from the original devices")
        .found(said.substr(1))
        .expected("namespaces of its own, as root or with user namespaces");
  }
  ending.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  if (said.starts_with(report::kNotFound)) ending.code = run_exit::kNotFound;
  if (said.starts_with(report::kNotRunnable)) ending.code = run_exit::kNotRunnable;
  ending.left_running = said.ends_with(report::kLeftRunning);
  return ending;
}

}  // namespace peelfs::jobs
