#include "luks/cryptsetup.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs::luks {
namespace {

// More than any message of its own; a hostile header must not make it grow.
constexpr std::size_t kLongestComplaint = 1000;

void initialise() {
  // With locking on, libcryptsetup may repair a header in place, and wants /run/cryptsetup.
  crypt_metadata_locking(nullptr, 0);
  // Tokens could load shared objects that a header names.
  crypt_token_external_disable();
  crypt_set_log_callback(
      nullptr, [](int, const char*, void*) {}, nullptr);
}

/// Why the copy of a header cannot be opened: crypt_init() says ENOTBLK of all that goes wrong.
Error cannot_look(const std::string& path, int code) {
  constexpr const char* kWhat = "this host does not let libcryptsetup look at a copy of the header";
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const int cause = fd < 0 ? errno : -code;
  if (fd >= 0) ::close(fd);
  if (cause == EMFILE || cause == ENFILE) {
    return Error::system(cause, kWhat)
        .advice("raise the limit of open files (ulimit -n); this says nothing about the header");
  }
  return Error(Fault::denied, kWhat)
      .found(std::generic_category().message(cause))
      .advice("see that /proc is mounted; this says nothing about the header");
}

std::string trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '.')) text.remove_suffix(1);
  return std::string(text.substr(0, kLongestComplaint));
}

}  // namespace

TimedMutex cryptsetup_mutex;

CryptsetupLock::CryptsetupLock(const Cancel* cancel) {
  constexpr std::chrono::milliseconds kPause{50};
  while (!cryptsetup_mutex.try_lock_for(kPause)) check_cancel(cancel);
  static bool is_done = false;
  if (is_done) return;
  try {
    initialise();
  } catch (...) {
    cryptsetup_mutex.unlock();
    throw;
  }
  is_done = true;
}

bool is_host_fault(int code) noexcept {
  switch (-code) {
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EACCES:
    case EPERM:
    case ENODEV:
    case ENOSYS:  // what it answers when /dev/urandom or /dev/random cannot be opened
    case EIO:
    case EAGAIN:
      return true;
    default:
      return false;
  }
}

CryptContext::CryptContext(const std::string& path) : path_(path) {
  const int code = crypt_init(&device_, path.c_str());
  if (code < 0) throw cannot_look(path, code);
  crypt_set_log_callback(device_, &CryptContext::keep, this);
}

CryptContext::~CryptContext() {
  crypt_free(device_);
}

void CryptContext::keep(int level, const char* text, void* context) {
  if (text == nullptr) return;
  auto& self = *static_cast<CryptContext*>(context);
  if (level == CRYPT_LOG_DEBUG) {
    self.keep_detail(text);
    return;
  }
  if (level != CRYPT_LOG_ERROR || self.said_.size() > kLongestComplaint) return;
  if (!self.said_.empty()) self.said_ += ' ';
  self.said_ += trimmed(text);
}

// libcryptsetup says what it dislikes in LUKS2 metadata on the debug level only: in the last line
// of those behind the checksum of the first copy and before it turns to something else.
void CryptContext::keep_detail(std::string_view line) {
  const auto begins = [&](std::string_view prefix) { return line.rfind(prefix, 0) == 0; };
  if (line.find("(in-memory)") != std::string_view::npos) {
    listening_ = detail_.empty();
  } else if (begins("Repairing ") || begins("Trying to ") || begins("LUKS2 header read failed")) {
    listening_ = false;
  } else if (listening_) {
    constexpr std::string_view kPrefix = "ERROR: ";
    detail_ = trimmed(line.substr(begins(kPrefix) ? kPrefix.size() : 0));
  }
}

int CryptContext::load(const char* type) {
  crypt_set_debug_level(CRYPT_DEBUG_ALL);
  const int code = crypt_load(device_, type, nullptr);
  crypt_set_debug_level(CRYPT_DEBUG_NONE);
  return code;
}

std::string CryptContext::complaint(int code) {
  std::string text = std::exchange(said_, {});
  if (text.empty()) text = std::exchange(detail_, {});
  if (text.empty()) return std::generic_category().message(-code);
  for (std::size_t at = text.find(path_); at != std::string::npos; at = text.find(path_, at)) {
    text.replace(at, path_.size(), "(header)");
  }
  return text;
}

}  // namespace peelfs::luks
