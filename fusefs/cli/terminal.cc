#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "cli/secrets.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

constexpr std::size_t kLongestPassphrase = 4096;

// Signals that end or stop a process while it asks: they wait until the terminal is as it was.
constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE};
volatile std::sig_atomic_t caught = 0;
extern "C" void note_signal(int number) {
  caught = number;
}

/// Echo off and the handlers in place, until the end of the scope.
class Quiet {
 public:
  explicit Quiet(int fd) : fd_(fd) {
    struct sigaction action {};
    action.sa_handler = note_signal;  // no SA_RESTART: the read must end
    sigemptyset(&action.sa_mask);
    for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &action, &old_[i]);
    if (::tcgetattr(fd_, &settings_) != 0) {
      restore_signals();
      throw Error::system(errno, "cannot ask for a passphrase: the settings of the terminal");
    }
    termios silent = settings_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL);
    silent.c_lflag |= ICANON | ISIG;
    ::tcsetattr(fd_, TCSAFLUSH, &silent);
  }
  ~Quiet() {
    while (::tcsetattr(fd_, TCSAFLUSH, &settings_) != 0 && errno == EINTR && caught != SIGTTOU) {
    }
    restore_signals();
  }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  void restore_signals() {
    for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &old_[i], nullptr);
  }

  int fd_;
  termios settings_{};
  std::array<struct sigaction, kSignals.size()> old_{};
};

void write_all(int fd, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t put = ::write(fd, text.data() + done, text.size() - done);
    if (put < 0 && errno == EINTR && caught == 0) continue;
    if (put <= 0) return;
    done += static_cast<std::size_t>(put);
  }
}

/// One line without its newline; stops early when a signal came. @return bytes in `line`
std::size_t read_line(int fd, MutableBytes line) {
  std::size_t used = 0;
  while (caught == 0) {
    std::byte next{};
    const ssize_t got = ::read(fd, &next, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || static_cast<char>(next) == '\n') break;
    if (used == line.size()) {
      throw Error(Fault::usage, "the passphrase is too long")
          .found("more than " + std::to_string(line.size()) + " bytes")
          .advice("a long key can be given with --key-file");
    }
    line[used++] = next;
  }
  return used;
}

}  // namespace

std::optional<Terminal> Terminal::open() {
  if (::isatty(STDIN_FILENO) == 0) return std::nullopt;
  const int fd = ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return std::nullopt;
  return Terminal(fd);
}

Terminal::Terminal(Terminal&& other) noexcept : fd_(other.fd_) {
  other.fd_ = -1;
}

Terminal::~Terminal() {
  if (fd_ >= 0) ::close(fd_);
}

std::optional<Secret> Terminal::ask(const std::string& question) {
  for (;;) {
    Secret line(kLongestPassphrase);
    std::size_t used = 0;
    caught = 0;
    {
      const Quiet quiet(fd_);
      write_all(fd_, question);
      used = read_line(fd_, line.writable());
      write_all(fd_, "\n");
    }
    const int number = caught;
    if (number == 0) {
      if (used == 0) return std::nullopt;
      return Secret(line.bytes().first(used));
    }
    ::raise(number);  // ends the process, or stops it; after that the question is asked again
  }
}

void Terminal::say(const std::string& text) {
  write_all(fd_, text);
}

}  // namespace peelfs::cli
