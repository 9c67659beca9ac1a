#include "jobs/runner_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "jobs/handed_signals.h"
#include "jobs/orders.h"
#include "jobs/runner.h"
#include "mount/descriptors.h"
#include "world/namespaces.h"
#include "world/world.h"

namespace peelfs::jobs {
namespace {

namespace fs = std::filesystem;

void tell(const UniqueFd& to, char what, const std::string& text = "") {
  const std::string message = what + text;
  [[maybe_unused]] const ssize_t ignored = ::write(to.get(), message.data(), message.size());
}

/// Closes everything but 0 to 2 and these two: what `try` was started with, and what it has opened.
void keep_only(const UniqueFd& one, const UniqueFd& other) {
  for (const int fd : open_descriptors()) {
    if (fd != one.get() && fd != other.get()) ::close(fd);
  }
}

void withhold(const std::set<int>& descriptors) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int fd : descriptors) null ? ::dup2(null.get(), fd) : ::close(fd);
}

/// Ends with the exec, or says why there was none.
[[noreturn]] void become(const std::vector<std::string>& words, const UniqueFd& report) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  std::signal(SIGXFSZ, SIG_DFL);  // ignored by us; not by what we start
  ::execvp(arguments[0], arguments.data());
  if (errno == ENOENT) {
    tell(report, report::kNotFound);
  } else {
    tell(report, report::kNotRunnable, std::strerror(errno));
  }
  ::_exit(run_exit::kFailed);
}

int code_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/// Whether any process of this world, but the first, has something of the mount open.
bool anybody_uses(const std::string& mountpoint) {
  std::error_code ignored;
  const auto leads_there = [&](const fs::path& link) {
    const std::string target = fs::read_symlink(link, ignored);
    return target == mountpoint || target.starts_with(mountpoint + "/");
  };
  for (const auto& process : fs::directory_iterator("/proc", ignored)) {
    const std::string name = process.path().filename().string();
    if (name == "1" || name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (leads_there(process.path() / "cwd")) return true;
    for (const auto& file : fs::directory_iterator(process.path() / "fd", ignored)) {
      if (leads_there(file.path())) return true;
    }
  }
  return false;
}

/// Waits for what the command has left running and what may still write to the mount.
/// @return false: it did not end
bool wait_for_users(const std::string& mountpoint) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::seconds(10);
  for (bool said = false; HandedSignals::last() == 0; said = true) {
    const pid_t ended = ::waitpid(-1, nullptr, WNOHANG);
    if (ended < 0 && errno == ECHILD) return true;
    if (ended > 0) continue;
    if (!anybody_uses(mountpoint)) return true;
    if (Clock::now() > end) return false;
    if (!said) {
      constexpr std::string_view kText =
          "peelfs: something that the command has started is still using the mount; waiting for it "
          "to end\n";
      [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, kText.data(), kText.size());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return true;
}

/// The first process of the world, with which everything in it ends.
[[noreturn]] void be_first(const std::vector<std::string>& words, const world::Plan& plan,
                           UniqueFd problem, const UniqueFd& report, HandedSignals& signals) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  HandedSignals::to(0);
  if (const std::string why = world::build(plan); !why.empty()) {
    [[maybe_unused]] const ssize_t ignored = ::write(problem.get(), why.data(), why.size());
    ::_exit(0);
  }
  problem.reset();
  const pid_t command = ::fork();
  if (command == 0) {
    signals.restore();
    become(words, report);
  }
  if (command < 0) {
    tell(report, report::kNotRunnable, std::strerror(errno));
    ::_exit(run_exit::kFailed);
  }
  HandedSignals::to(command);
  int status = 0;
  for (;;) {
    int one = 0;
    const pid_t ended = ::waitpid(-1, &one, 0);
    if (ended < 0 && errno == EINTR) continue;
    if (ended == command) status = one;
    if (ended == command || ended < 0) break;
  }
  HandedSignals::to(0);
  if (!wait_for_users(plan.mountpoint)) tell(report, report::kLeftRunning);
  ::_exit(code_of(status));
}

/// Runs the command in its world. @return its code; nullopt: there is no world, see `why`
std::optional<int> run_in_world(world::Users users, const std::vector<std::string>& words,
                                const world::Plan& plan, UniqueFd& report, HandedSignals& signals,
                                std::string& why) {
  Pipe problem = make_pipe();
  const pid_t first = world::start_in_namespaces(
      users,
      [&] {
        problem.reader.reset();
        be_first(words, plan, std::move(problem.writer), report, signals);
      },
      why);
  if (first < 0) return std::nullopt;
  HandedSignals::to(first);
  problem.writer.reset();
  why = read_to_end(problem.reader.get());
  // From here on it ends when the world does.
  if (why.empty()) report.reset();
  int status = 0;
  while (::waitpid(first, &status, 0) < 0 && errno == EINTR) {
  }
  HandedSignals::to(0);
  return why.empty() ? std::optional(code_of(status)) : std::nullopt;
}

}  // namespace

void carry_out(pid_t parent, UniqueFd orders, UniqueFd report, const std::set<int>& withheld) {
  keep_only(orders, report);
  withhold(withheld);
  std::vector<std::string> words;
  std::vector<std::string> plan;
  std::vector<std::string> only_in_world;
  std::vector<std::string> more_withheld;
  if (!receive_list(orders.get(), words) || !receive_list(orders.get(), plan) ||
      !receive_list(orders.get(), only_in_world) || !receive_list(orders.get(), more_withheld)) {
    ::_exit(0);
  }
  std::set<int> descriptors;
  for (const std::string& number : more_withheld) descriptors.insert(std::stoi(number));
  withhold(descriptors);
  orders.reset();
  HandedSignals signals;
  // Without `try` the device goes away.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
  if (::getppid() != parent) ::_exit(run_exit::kFailed);
  std::string why;
  const auto in_world = [&](world::Users users) {
    const auto code = run_in_world(users, words, world::from_words(plan), report, signals, why);
    if (code) ::_exit(*code);
  };
  in_world(world::Users::same);
  if (::geteuid() == 0) {
    const std::string first = why;
    in_world(world::Users::of_the_host);
    why = first + "; without a user namespace: " + why;
  }
  if (!only_in_world.empty()) {
    tell(report, report::kNoWorld, why);
    ::_exit(run_exit::kFailed);
  }
  tell(report, report::kOutside, why + '\0');
  signals.restore();
  become(words, report);
}

}  // namespace peelfs::jobs
