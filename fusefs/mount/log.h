// Where the mount says what happens to it: standard error, a file or syslog. spdlog stays behind
// this.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "mount/process.h"
#include "peelfs/mutex.h"

namespace peelfs {

enum class LogLevel : std::uint8_t { debug, info, warning, error };

/// A log file that is open and not yet written: what the mount reads is not known when it is
/// opened.
class LogFile {
 public:
  /// Opens a regular file, made with mode 0600, or a character device; follows no link.
  /// @param path empty: none
  /// @throws Error when it is something else or cannot be opened
  explicit LogFile(const std::string& path);
  /// Removes the file if it was made here and never used.
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  bool named() const noexcept { return !path_.empty(); }
  /// Once everything is open that is read from. @return the descriptor, handed over
  /// @throws Error when the file is one of these
  UniqueFd use();

 private:
  const std::string path_;
  UniqueFd file_;
  bool made_ = false;
};

/// Directs the log from here on. Until it is called, warnings and errors go to standard error.
/// @param file written to; none: `daemon` chooses between syslog and stderr
void open_log(UniqueFd file, bool daemon, bool debug);

/// Writes one line; what is not printable is escaped. Never throws. Thread-safe.
void log_message(LogLevel level, std::string_view text) noexcept;

/// From now on each failure of a device is appended to a file, too, as far as 64 KiB reach: the
/// device's name and the text, each with a NUL behind it. For a process that watches this one.
/// @param file stays open; append mode
void note_failures_in(int file) noexcept;
/// Never throws. Thread-safe.
void note_failure(std::string_view device, std::string_view text) noexcept;

/// Lets a burst of messages through, then one in each interval, and counts the others: a failing
/// disk is heard without filling the host's. Thread-safe.
class LogLimiter {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param suppressed set to how many were held back since the last that was let through
  /// @return whether the caller shall write its message
  bool allow(std::uint64_t& suppressed, Clock::time_point now = Clock::now());

 private:
  static constexpr unsigned kBurst = 8;
  static constexpr std::chrono::seconds kInterval{10};

  Mutex mutex_;
  Clock::time_point window_ PEELFS_GUARDED_BY(mutex_){};
  unsigned in_window_ PEELFS_GUARDED_BY(mutex_) = 0;
  std::uint64_t suppressed_ PEELFS_GUARDED_BY(mutex_) = 0;
  bool started_ PEELFS_GUARDED_BY(mutex_) = false;
};

}  // namespace peelfs
