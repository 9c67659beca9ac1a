// Where the mount says what happens to it: standard error, a file or syslog. spdlog stays behind
// this.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace peelfs {

enum class LogLevel : std::uint8_t { debug, info, warning, error };

/// Directs the log from here on. Until it is called, warnings and errors go to standard error.
/// @param file appended to, made with mode 0600; empty: `daemon` chooses between syslog and stderr
/// @throws Error when the file cannot be opened
void open_log(const std::string& file, bool daemon, bool debug);

/// Writes one line; what is not printable is escaped. Never throws. Thread-safe.
void log_message(LogLevel level, std::string_view text) noexcept;

/// Lets a burst of messages through, then one in each interval, and counts the others: a failing
/// disk is heard without filling the host's. Thread-safe.
class LogLimiter {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param suppressed set to how many were held back since the last that was let through
  /// @return whether the caller shall write its message
  bool allow(std::uint64_t& suppressed, Clock::time_point now = Clock::now());

 private:
  static constexpr unsigned burst = 8;
  static constexpr std::chrono::seconds interval{10};

  std::mutex mutex_;
  Clock::time_point window_{};
  unsigned in_window_ = 0;
  std::uint64_t suppressed_ = 0;
  bool started_ = false;
};

}  // namespace peelfs
