#include "mount/process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <system_error>

#include "peelfs/error.h"

namespace peelfs {
namespace {

constexpr std::size_t kHelperOutputLimit = 64 * 1024;
constexpr std::chrono::seconds kHelperPatience{30};

/// A child that asks for nothing and writes into `output`; started with the default signal mask and
/// actions, also if this process blocks or ignores signals.
pid_t spawn(const std::string& path, const std::vector<std::string>& arguments, int output) {
  std::vector<char*> argv;
  argv.push_back(const_cast<char*>(path.c_str()));
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
  sigset_t none;
  sigset_t defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD, SIGXFSZ}) {
    sigaddset(&defaults, signal);
  }
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  pid_t child = -1;
  const int failure = posix_spawn(&child, path.c_str(), &files, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return failure == 0 ? child : -1;
}

std::string joined_lines(const std::string& text) {
  std::string joined;
  std::size_t begin = 0;
  while (begin < text.size()) {
    std::size_t end = text.find('\n', begin);
    end = end == std::string::npos ? text.size() : end;
    if (end > begin) {
      joined += joined.empty() ? "" : "; ";
      joined += text.substr(begin, end - begin);
    }
    begin = end + 1;
  }
  return joined;
}

}  // namespace

void UniqueFd::reset(int fd) noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Error::system(errno, "cannot make a pipe");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

void open_standard_descriptors() noexcept {
  for (;;) {
    const int fd = ::open("/dev/null", O_RDWR);
    if (fd < 0 || fd > STDERR_FILENO) {
      if (fd > STDERR_FILENO) ::close(fd);
      return;
    }
  }
}

void raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

void protect_memory() noexcept {
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

void leave_terminal() noexcept {
  ::setsid();
  [[maybe_unused]] const int ignored = ::chdir("/");
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null >= 0) {
    ::dup2(null, STDIN_FILENO);
    ::dup2(null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
    ::close(null);
  }
}

namespace {

/// Whether files of root's show as those of the overflow user: this user namespace does not map
/// root.
bool root_is_unmapped() {
  std::ifstream map("/proc/self/uid_map");
  std::uint64_t inside = 0;
  std::uint64_t outside = 0;
  std::uint64_t count = 0;
  while (map >> inside >> outside >> count) {
    if (outside == 0 && count > 0) return false;
  }
  return map.eof();
}

uid_t overflow_user() {
  std::ifstream file("/proc/sys/kernel/overflowuid");
  uid_t user = 65534;
  file >> user;
  return user;
}

/// Why a program or its folder is not trusted: a user other than root and the caller may have put
/// it there or changed it. Empty: it is trusted.
std::string distrust(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return path + " cannot be looked at: " + std::generic_category().message(errno);
  }
  const bool is_owned = status.st_uid == 0 || status.st_uid == ::geteuid() ||
                        (status.st_uid == overflow_user() && root_is_unmapped());
  if (!is_owned) return path + " belongs to uid " + std::to_string(status.st_uid);
  return (status.st_mode & S_IWOTH) == 0 ? "" : path + " can be written by everybody";
}

/// @return whether there is such a program to run
bool is_program(const std::string& path) {
  struct stat status {};
  return ::access(path.c_str(), X_OK) == 0 && ::stat(path.c_str(), &status) == 0 &&
         S_ISREG(status.st_mode);
}

/// Reads what a child writes until it ends, or until the time is over; then the child is killed.
/// @return whether it has ended by itself
bool read_output(pid_t child, int from, std::string& output) {
  const auto deadline = std::chrono::steady_clock::now() + kHelperPatience;
  std::array<char, 4096> buffer;
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd readable{from, POLLIN, 0};
    const int ready =
        ::poll(&readable, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      ::kill(child, SIGKILL);
      return false;
    }
    const ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    if (output.size() < kHelperOutputLimit) {
      output.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }
}

}  // namespace

std::optional<std::string> find_program(const std::string& program, std::string* refused) {
  // The system's own folders first: PATH may have been set by another user.
  const char* const environment = std::getenv("PATH");
  const std::string folders = std::string("/usr/bin:/bin:/usr/sbin:/sbin") +
                              (environment == nullptr ? "" : std::string(":") + environment);
  std::size_t begin = 0;
  while (begin <= folders.size()) {
    std::size_t end = folders.find(':', begin);
    end = end == std::string::npos ? folders.size() : end;
    const std::string candidate = folders.substr(begin, end - begin) + "/" + program;
    // A relative or empty component of PATH would run what lies in the current directory.
    if (candidate.front() == '/' && end > begin && is_program(candidate)) {
      std::string why = distrust(candidate);
      if (why.empty()) why = distrust(candidate.substr(0, candidate.rfind('/')));
      if (why.empty()) return candidate;
      if (refused != nullptr && refused->empty()) *refused = why;
    }
    begin = end + 1;
  }
  return std::nullopt;
}

HelperResult run_helper(const std::string& program, const std::vector<std::string>& arguments) {
  std::string refused;
  const std::optional<std::string> path = find_program(program, &refused);
  if (!path) {
    return {127, program + (refused.empty() ? ": not found" : ": not trusted: " + refused)};
  }
  Pipe pipe = make_pipe();
  const pid_t child = spawn(*path, arguments, pipe.writer.get());
  if (child < 0) return {127, program + ": cannot be started"};
  pipe.writer.reset();
  HelperResult result;
  if (!read_output(child, pipe.reader.get(), result.output)) {
    // A child that hangs in the kernel cannot be waited for.
    ::waitpid(child, nullptr, WNOHANG);
    return {124,
            program + ": has not ended after " + std::to_string(kHelperPatience.count()) + " s"};
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.output = joined_lines(result.output);
  return result;
}

CapturedErrors::CapturedErrors()
    : saved_(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)),
      memory_(::memfd_create("peelfs-messages", MFD_CLOEXEC)) {
  if (saved_ && memory_) ::dup2(memory_.get(), STDERR_FILENO);
}

CapturedErrors::~CapturedErrors() {
  if (saved_) ::dup2(saved_.get(), STDERR_FILENO);
}

std::string CapturedErrors::finish() {
  if (!saved_ || !memory_) return {};
  ::dup2(saved_.get(), STDERR_FILENO);
  saved_.reset();
  std::string text(kHelperOutputLimit, '\0');
  const ssize_t got = ::pread(memory_.get(), text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return joined_lines(text);
}

}  // namespace peelfs
