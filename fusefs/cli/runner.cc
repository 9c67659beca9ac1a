#include "cli/runner.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "cli/command.h"
#include "cli/isolation.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

volatile std::sig_atomic_t handed_to = 0;
volatile std::sig_atomic_t handed_on = 0;
extern "C" void hand_on(int number) {
  handed_on = number;
  if (handed_to > 0) ::kill(static_cast<pid_t>(handed_to), number);
}

/// The terminal's signals are the command's while it runs.
class CommandSignals {
 public:
  explicit CommandSignals(pid_t child) {
    handed_to = child;
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    struct sigaction pass {};
    pass.sa_handler = hand_on;
    for (std::size_t i = 0; i < signals.size(); ++i) {
      const bool of_the_terminal = signals[i] == SIGINT || signals[i] == SIGQUIT;
      ::sigaction(signals[i], of_the_terminal ? &ignore : &pass, &before_[i]);
    }
  }
  ~CommandSignals() {
    for (std::size_t i = 0; i < signals.size(); ++i) {
      ::sigaction(signals[i], &before_[i], nullptr);
    }
    handed_to = 0;
  }
  CommandSignals(const CommandSignals&) = delete;
  CommandSignals& operator=(const CommandSignals&) = delete;

 private:
  static constexpr std::array signals{SIGINT, SIGQUIT, SIGTERM, SIGHUP};
  std::array<struct sigaction, signals.size()> before_{};
};

void send(int fd, const std::string& text) {
  const std::uint32_t size = static_cast<std::uint32_t>(text.size());
  std::string message(reinterpret_cast<const char*>(&size), sizeof size);
  message += text;
  for (std::size_t done = 0; done < message.size();) {
    const ssize_t put = ::write(fd, message.data() + done, message.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) throw Error::system(errno, "cannot start the command");
    done += static_cast<std::size_t>(put);
  }
}

bool receive_bytes(int fd, char* to, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t got = ::read(fd, to + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += static_cast<std::size_t>(got);
  }
  return true;
}

/// @return false at the end: whoever gives the orders has gone
bool receive(int fd, std::string& text) {
  std::uint32_t size = 0;
  if (!receive_bytes(fd, reinterpret_cast<char*>(&size), sizeof size)) return false;
  text.resize(size);
  return receive_bytes(fd, text.data(), size);
}

bool receive_list(int fd, std::vector<std::string>& list) {
  std::string count;
  if (!receive(fd, count)) return false;
  list.resize(std::stoul(count));
  for (std::string& text : list) {
    if (!receive(fd, text)) return false;
  }
  return true;
}

void send_list(int fd, const std::vector<std::string>& list) {
  send(fd, std::to_string(list.size()));
  for (const std::string& text : list) send(fd, text);
}

}  // namespace

Runner::Runner() {
  Pipe orders = make_pipe();
  Pipe report = make_pipe();
  const pid_t self = ::getpid();
  child_ = ::fork();
  if (child_ < 0) throw Error::system(errno, "cannot start a process for the command");
  if (child_ == 0) {
    orders.writer.reset();
    report.reader.reset();
    become(self, orders.reader.get(), report.writer.get());
  }
  orders_ = std::move(orders.writer);
  report_ = std::move(report.reader);
}

int Runner::ended_by() noexcept {
  return handed_on;
}

Runner::~Runner() {
  orders_.reset();
  if (child_ > 0) ::waitpid(child_, nullptr, 0);
}

void Runner::become(pid_t parent, int orders, int report) {
  std::vector<std::string> words;
  std::vector<std::string> members;
  std::string folder;
  if (!receive_list(orders, words) || !receive(orders, folder) || !receive_list(orders, members)) {
    ::_exit(0);
  }
  std::string why;
  if (!members.empty()) {
    why = hide_devices(folder);
    const std::string list = why.empty() ? write_device_list(folder, members) : "";
    if (why.empty() && list.empty()) why = "no list of devices for libblkid";
    if (why.empty()) ::setenv("BLKID_FILE", list.c_str(), 1);
  }
  if (why.empty()) {
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    // Without us its device goes away. Asked for as late as this: a new user namespace ends the
    // request. Whoever has died before has another parent in its place.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    if (::getppid() != parent) ::_exit(try_exit::failed);
    ::execvp(arguments[0], arguments.data());
    why = errno == ENOENT ? "?" : "!" + std::string(std::strerror(errno));
  }
  [[maybe_unused]] const ssize_t ignored = ::write(report, why.data(), why.size());
  ::_exit(try_exit::failed);
}

int Runner::run(const std::vector<std::string>& words, const Isolation& isolation) {
  const CommandSignals signals(child_);
  send_list(orders_.get(), words);
  send(orders_.get(), isolation.folder);
  send_list(orders_.get(), isolation.members);
  // Ends with the exec: the descriptor closes there.
  std::string why;
  std::array<char, 256> text{};
  for (;;) {
    const ssize_t got = ::read(report_.get(), text.data(), text.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    why.append(text.data(), static_cast<std::size_t>(got));
  }
  int status = 0;
  while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
  }
  child_ = -1;
  if (why == "?") return try_exit::not_found;
  if (why.starts_with("!")) return try_exit::not_runnable;
  if (!why.empty()) {
    throw Error(Fault::denied, "the command cannot be kept away from the original devices")
        .found(why)
        .expected("a mount namespace, as root or with user namespaces")
        .advice(
            "mount with --overlay DIR and run the command yourself; see 'Filesystems on several "
            "devices' in peelfs(1)");
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace peelfs::cli
