#include "check/listener.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace peelfs::check {

bool Listener::hear(jobs::Run& run) {
  std::array<char, 16384> part{};
  constexpr int kPartsInOneTurn = 64;  // others wait to be heard
  for (int i = 0; i < kPartsInOneTurn; ++i) {
    const ssize_t got = ::read(run.output(), part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return false;
    if (got <= 0) {
      run.close_output();
      return false;
    }
    take(std::string_view(part.data(), static_cast<std::size_t>(got)));
  }
  return true;
}

void Listener::hear_the_rest(jobs::Run& run) {
  constexpr int kMostTurns = 4096;
  for (int i = 0; i < kMostTurns && run.output() >= 0 && hear(run); ++i) {
  }
  take_line();
}

void Listener::take(std::string_view text) {
  constexpr std::size_t kLongestLine = 4096;
  for (const char c : text) {
    line_ += c;
    if (c == '\n' || line_.size() >= kLongestLine) take_line();
  }
}

void Listener::take_line() {
  constexpr std::size_t kTail = std::size_t{64} << 10U;
  const std::string line = std::exchange(line_, "");
  if (line.empty()) return;
  if (percent_ != nullptr) {
    if (const auto percent = percent_(line)) {
      if (progressed) progressed(*percent);
      return;
    }
  }
  if (said) said(line);
  if (head_.size() < kTail) {
    head_ += line;
    return;
  }
  tail_ += line;
  if (tail_.size() > 2 * kTail) tail_.erase(0, tail_.size() - kTail);
}

}  // namespace peelfs::check
