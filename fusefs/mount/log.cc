#include "mount/log.h"

#include <fcntl.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <mutex>
#include <utility>

#include "host/output_file.h"
#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs {
namespace {

/// Where failures are noted; -1: nowhere.
std::atomic<int> failure_notes{-1};

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

/// Writes to a descriptor: the file that was checked is the file that is written, also if its name
/// leads to another one later.
class DescriptorSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit DescriptorSink(UniqueFd file) : file_(std::move(file)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    std::string_view left(text.data(), text.size());
    while (!left.empty()) {
      const ssize_t put = ::write(file_.get(), left.data(), left.size());
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) return;  // a log that cannot be written must not stop a read
      left.remove_prefix(static_cast<std::size_t>(put));
    }
  }
  void flush_() override {}

 private:
  const UniqueFd file_;
};

constexpr int kLogFlags = O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

/// /dev/stderr and its like are links to what this process has open already. @return -1: none of
/// these
int standard_descriptor(const std::string& path) {
  if (path == "/dev/stdout") return ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  if (path == "/dev/stderr") return ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  return -1;
}

Error no_log_file(const std::string& path, const std::string& what) {
  return Error(Fault::usage, "messages cannot be logged to " + printable(path))
      .found(what)
      .expected("a regular file")
      .advice("choose another file, or leave it out to log to syslog");
}

}  // namespace

LogFile::LogFile(const std::string& path) : path_(path) {
  if (path.empty()) return;
  file_.reset(standard_descriptor(path));
  if (file_) return;
  // The log holds names of devices and files, so only its owner may read it.
  file_.reset(::open(path.c_str(), kLogFlags | O_CREAT | O_EXCL, 0600));
  made_ = static_cast<bool>(file_);
  if (made_) return;
  if (errno == EEXIST) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) throw Error::system(errno, "cannot examine " + path);
    // Looks at the file first: the open of a FIFO or a tape has effects already.
    if (S_ISLNK(status.st_mode)) throw no_log_file(path, "a symbolic link, which is not followed");
    if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode)) {
      throw no_log_file(path, S_ISFIFO(status.st_mode)  ? "a FIFO"
                              : S_ISDIR(status.st_mode) ? "a directory"
                                                        : "a device or a socket");
    }
    file_.reset(::open(path.c_str(), kLogFlags | O_NOFOLLOW));
    struct stat opened {};
    if (file_ && (::fstat(file_.get(), &opened) != 0 || opened.st_dev != status.st_dev ||
                  opened.st_ino != status.st_ino)) {
      throw no_log_file(path, "it was replaced while it was opened");
    }
  }
  if (!file_) {
    throw Error::system(errno, "cannot open the log file " + printable(path))
        .advice("choose another file, or leave it out to log to syslog");
  }
}

LogFile::~LogFile() {
  if (made_ && file_) ::unlink(path_.c_str());
}

UniqueFd LogFile::use() {
  if (file_) refuse_as_output(file_.get(), printable(path_));
  return std::move(file_);
}

void open_log(UniqueFd file, bool daemon, bool debug) {
  const char* const with_time = "%Y-%m-%dT%H:%M:%S.%e%z peelfs[%P]: %l: %v";
  if (file) {
    current_logger() = make_logger(std::make_shared<DescriptorSink>(std::move(file)), with_time);
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
  static constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                          spdlog::level::warn, spdlog::level::err};
  try {
    current_logger()->log(kLevels[static_cast<unsigned>(level)], "{}", printable(text));
  } catch (
      ...) {  // NOLINT(bugprone-empty-catch): a log that cannot be written must not stop a read
  }
}

void note_failures_in(int file) noexcept {
  failure_notes = file;
}

void note_failure(std::string_view device, std::string_view text) noexcept {
  constexpr off_t kMost = off_t{64} << 10U;
  const int file = failure_notes;
  if (file < 0) return;
  try {
    struct stat status {};
    if (::fstat(file, &status) != 0 || status.st_size > kMost) return;
    std::string line(device);
    line += '\0';
    line += text;
    line += '\0';
    [[maybe_unused]] const ssize_t ignored = ::write(file, line.data(), line.size());
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): out of memory, for a note
  }
}

bool LogLimiter::allow(std::uint64_t& suppressed, Clock::time_point now) {
  const MutexLock lock(mutex_);
  if (!started_ || now - window_ >= kInterval) {
    // After a quiet interval the burst is available again; a steady flood only gets its one
    // message.
    const bool quiet = !started_ || now - window_ >= 2 * kInterval;
    in_window_ = quiet ? 0 : kBurst - 1;
    window_ = now;
    started_ = true;
  }
  if (in_window_ >= kBurst) {
    ++suppressed_;
    return false;
  }
  ++in_window_;
  suppressed = suppressed_;
  suppressed_ = 0;
  return true;
}

}  // namespace peelfs
