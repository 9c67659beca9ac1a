#include "cli/interrupt.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cli/text.h"

namespace peelfs::cli {
namespace {

constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};
std::array<struct sigaction, kSignals.size()> before;
volatile std::sig_atomic_t noted = 0;
extern "C" void note(int number) {
  noted = number;
}

}  // namespace

Interruptible::Interruptible() {
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &before[i]);
    // nohup(1) and shells that start jobs in the background have some ignored: that stands.
    if (before[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &action, nullptr);
  }
}

Interruptible::~Interruptible() {
  stop_noting();
}

void Interruptible::stop_noting() noexcept {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before[i], nullptr);
}

int Interruptible::signal() noexcept {
  return noted;
}

void Interruptible::check() {
  if (noted == 0) return;
  throw Error(Fault::denied, std::string("stopped by a signal: ") + ::strsignal(noted))
      .with_errno(EINTR);
}

void Interruptible::obey(const Error& error) {
  const std::string line = "peelfs: " + shown(error.what()) + "\n";
  std::fputs(line.c_str(), stderr);
  obey();
}

void Interruptible::obey() {
  std::signal(noted, SIG_DFL);
  std::raise(noted);
  std::_Exit(128 + noted);
}

}  // namespace peelfs::cli
