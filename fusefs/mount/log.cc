#include "mount/log.h"

#include <fcntl.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <syslog.h>
#include <unistd.h>

#include <memory>

#include "peelfs/error.h"

namespace peelfs {
namespace {

std::shared_ptr<spdlog::logger> make_logger(const spdlog::sink_ptr& sink, const char* pattern) {
  auto made = std::make_shared<spdlog::logger>("peelfs", sink);
  made->set_pattern(pattern);
  made->set_level(spdlog::level::info);
  made->flush_on(spdlog::level::debug);
  return made;
}

/// Set by open_log before any thread exists, so reading it needs no lock.
std::shared_ptr<spdlog::logger>& current_logger() {
  static std::shared_ptr<spdlog::logger> current =
      make_logger(std::make_shared<spdlog::sinks::stderr_sink_mt>(), "peelfs: %l: %v");
  return current;
}

spdlog::sink_ptr file_sink(const std::string& file) {
  // Made here and not by spdlog, for the mode: names of devices and of files are nobody else's
  // business.
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) {
    throw Error::system(errno, "cannot open the log file " + printable(file))
        .advice("choose another file, or leave it out to log to syslog");
  }
  ::close(descriptor);
  return std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
}

}  // namespace

void open_log(const std::string& file, bool daemon, bool debug) {
  const char* const with_time = "%Y-%m-%dT%H:%M:%S.%e%z peelfs[%P]: %l: %v";
  if (!file.empty()) {
    current_logger() = make_logger(file_sink(file), with_time);
  } else if (daemon) {
    current_logger() = make_logger(
        std::make_shared<spdlog::sinks::syslog_sink_mt>("peelfs", LOG_PID, LOG_DAEMON, true), "%v");
  } else {
    current_logger() =
        make_logger(std::make_shared<spdlog::sinks::stderr_sink_mt>(), "peelfs: %l: %v");
  }
  current_logger()->set_level(debug ? spdlog::level::debug : spdlog::level::info);
}

void log_message(LogLevel level, std::string_view text) noexcept {
  static constexpr spdlog::level::level_enum levels[] = {spdlog::level::debug, spdlog::level::info,
                                                         spdlog::level::warn, spdlog::level::err};
  try {
    current_logger()->log(levels[static_cast<unsigned>(level)], "{}", printable(text));
  } catch (
      ...) {  // NOLINT(bugprone-empty-catch): a log that cannot be written must not stop a read
  }
}

bool LogLimiter::allow(std::uint64_t& suppressed, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (!started_ || now - window_ >= interval) {
    // After a quiet interval the burst is available again; a steady flood only gets its one
    // message.
    const bool quiet = !started_ || now - window_ >= 2 * interval;
    in_window_ = quiet ? 0 : burst - 1;
    window_ = now;
    started_ = true;
  }
  if (in_window_ >= burst) {
    ++suppressed_;
    return false;
  }
  ++in_window_;
  suppressed = suppressed_;
  suppressed_ = 0;
  return true;
}

}  // namespace peelfs
