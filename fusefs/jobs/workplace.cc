#include "jobs/workplace.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <thread>

#include "mount/log.h"
#include "overlay/cover.h"
#include "overlay/set.h"
#include "peelfs/error.h"

namespace peelfs::jobs {
namespace {

constexpr std::string_view kPrefix = "peelfs-";
constexpr std::string_view kRandom = "XXXXXX";

/// What the process that serves the mount clears away if nobody else is left to do it.
struct Leavings {
  std::string workplace, overlays;
  Lifeline::Overlays worth = Lifeline::Overlays::precious;
  std::atomic<bool> abandoned{false};
};

Leavings& leavings() {
  static auto* const here = new Leavings;  // needed while the process ends
  return *here;
}

/// At the end of the process, when every lock on the overlays has gone.
void clear_leavings() {
  const Leavings& left = leavings();
  if (!left.abandoned) return;
  Workplace::clear(left.workplace);
  if (left.overlays.empty()) return;
  try {
    const auto paths = overlay::overlays_in(left.overlays);
    if (left.worth == Lifeline::Overlays::worthless ||
        std::none_of(paths.begin(), paths.end(), overlay::holds_changes)) {
      remove_overlays(left.overlays);
      return;
    }
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): then they stay
  }
  log_message(LogLevel::warning,
              "peelfs try was killed; what its command has written is in " + left.overlays);
}

/// In a directory of another user, or one that others may write without a sticky bit, they can put
/// another directory in the place of ours.
void require_that_names_stay(const std::string& folder) {
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) {
    throw Error::system(errno, "cannot make a temporary directory in " + folder);
  }
  const bool is_own = status.st_uid == 0 || status.st_uid == ::geteuid();
  const bool is_open = (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  const bool is_sticky = (status.st_mode & S_ISVTX) != 0;
  if (is_own && (!is_open || is_sticky)) return;
  throw Error(Fault::denied, "others may rename what lies in " + folder)
      .found(is_own ? "a directory that others may write, without the sticky bit"
                    : "a directory of uid " + std::to_string(status.st_uid))
      .advice("set TMPDIR to a directory of your own")
      .with_errno(EACCES);
}

/// Whether it is a directory, and no link to one.
bool is_directory(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

}  // namespace

std::string make_folder(const std::string& fallback, std::string_view verb) {
  const char* const place = std::getenv("TMPDIR");
  const std::string folder = place != nullptr && *place != '\0' ? place : fallback;
  require_that_names_stay(folder);
  std::string path = folder + "/";
  path.append(kPrefix).append(verb).append("-").append(kRandom);
  if (::mkdtemp(path.data()) == nullptr) throw Error::system(errno, "cannot make " + path);
  return std::filesystem::absolute(path).string();
}

Workplace::Workplace(std::string_view verb) : path_(make_folder("/tmp", verb)) {
  for (const std::string& directory : {mountpoint(), world()}) {
    if (::mkdir(directory.c_str(), 0700) == 0) continue;
    const int error_number = errno;
    clear(path_);
    throw Error::system(error_number, "cannot make " + directory);
  }
}

Workplace::~Workplace() {
  clear(path_);
}

void Workplace::clear(const std::string& path) noexcept {
  ::rmdir(mountpoint_of(path).c_str());
  ::rmdir(world_of(path).c_str());
  ::rmdir(path.c_str());
}

void remove_if_empty(const std::string& directory) noexcept {
  std::string plain = directory;
  while (plain.size() > 1 && plain.back() == '/') plain.pop_back();
  const std::string name = plain.substr(plain.rfind('/') + 1);
  for (const std::string_view verb : {"try-", "repair-"}) {
    const std::string begin = std::string(kPrefix) + std::string(verb);
    if (name.starts_with(begin) && name.size() == begin.size() + kRandom.size()) {
      ::rmdir(plain.c_str());
    }
  }
}

void remove_overlays(const std::string& directory) {
  if (!is_directory(directory)) return;
  for (const std::string& path : overlay::overlays_in(directory)) ::unlink(path.c_str());
  ::rmdir(directory.c_str());
}

// Both ends stay open in `try`, so that its farewell meets a reader though the other process may
// have ended. Without it the pipe just ends, with `try`.
Lifeline::Lifeline() : pipe_(make_pipe()) {}

Lifeline::~Lifeline() {
  [[maybe_unused]] const ssize_t ignored = ::write(pipe_.writer.get(), "", 1);
}

void Lifeline::end_mount_without_us(const std::string& workplace, const std::string& overlays,
                                    Overlays worth) {
  pipe_.writer.reset();
  leavings().workplace = workplace;
  leavings().overlays = overlays;
  leavings().worth = worth;
  std::atexit(clear_leavings);

  // Until the mount waits for them these stay pending, so that the end is in order even then: the
  // SIGTERM from below, and the SIGHUP that the kernel sends when `try` was the first process of a
  // terminal. The thread takes no signal: one that the mount means to wait for would end it.
  sigset_t every;
  sigset_t ending;
  sigset_t before;
  sigfillset(&every);
  sigemptyset(&ending);
  for (const int signal : {SIGTERM, SIGHUP}) sigaddset(&ending, signal);
  pthread_sigmask(SIG_SETMASK, &every, &before);
  std::thread([alive = std::move(pipe_.reader)] {
    char byte = 0;
    ssize_t got = 0;
    while ((got = ::read(alive.get(), &byte, 1)) < 0 && errno == EINTR) {
    }
    if (got == 1) return;
    leavings().abandoned = true;
    ::kill(::getpid(), SIGTERM);
  }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);
}

}  // namespace peelfs::jobs
