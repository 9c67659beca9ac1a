#include "jobs/handed_signals.h"

namespace peelfs::jobs {
namespace {

volatile std::sig_atomic_t handed_to = 0;
volatile std::sig_atomic_t handed_on = 0;
extern "C" void hand_on(int number) {
  handed_on = number;
  if (handed_to > 0) ::kill(static_cast<pid_t>(handed_to), number);
}

}  // namespace

HandedSignals::HandedSignals(pid_t child) {
  handed_to = child;
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  struct sigaction pass {};
  pass.sa_handler = hand_on;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    const bool of_the_terminal = kSignals[i] == SIGINT || kSignals[i] == SIGQUIT;
    ::sigaction(kSignals[i], of_the_terminal ? &ignore : &pass, &before_[i]);
  }
}

HandedSignals::~HandedSignals() {
  restore();
  handed_to = 0;
}

void HandedSignals::to(pid_t child) noexcept {
  handed_to = child;
  if (child > 0 && handed_on != 0) ::kill(child, handed_on);
}

void HandedSignals::restore() noexcept {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
}

int HandedSignals::last() noexcept {
  return handed_on;
}

}  // namespace peelfs::jobs
