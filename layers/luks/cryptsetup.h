// One context of libcryptsetup, closed when it goes, with what it says kept for error messages.
#pragma once

#include <libcryptsetup.h>

#include <string>
#include <string_view>

#include "peelfs/cancel.h"
#include "peelfs/mutex.h"

namespace peelfs::luks {

/// Held while libcryptsetup works: its contexts share global state, and two key derivations at once
/// would need twice the memory.
extern TimedMutex cryptsetup_mutex;

/// Holds it as long as it lives. The first one sets what the library does in the whole process.
class PEELFS_SCOPED_CAPABILITY [[nodiscard]] CryptsetupLock {
 public:
  /// @param cancel ends waiting for it; null: nothing does @throws cancelled_error()
  explicit CryptsetupLock(const Cancel* cancel = nullptr) PEELFS_ACQUIRE(cryptsetup_mutex);
  ~CryptsetupLock() PEELFS_RELEASE(cryptsetup_mutex) { cryptsetup_mutex.unlock(); }
  CryptsetupLock(const CryptsetupLock&) = delete;
  CryptsetupLock& operator=(const CryptsetupLock&) = delete;
};

/// Whether a negative errno of libcryptsetup tells of a failure of this host (no memory, no
/// descriptors, no source of random numbers) and not of the header, which lies in our own memory.
bool is_host_fault(int code) noexcept;

/// Not thread-safe.
class CryptContext {
 public:
  /// @param path of the header; it is not read yet
  /// @throws Error(Fault::io)
  explicit CryptContext(const std::string& path) PEELFS_REQUIRES(cryptsetup_mutex);
  ~CryptContext();
  CryptContext(const CryptContext&) = delete;
  CryptContext& operator=(const CryptContext&) = delete;

  crypt_device* get() const noexcept { return device_; }

  /// crypt_load(), with what it dislikes kept for complaint().
  /// @param type CRYPT_LUKS1 or CRYPT_LUKS2
  /// @return 0 or a negative errno
  int load(const char* type) PEELFS_REQUIRES(cryptsetup_mutex);

  /// What libcryptsetup said since the last call, on one line, or the text of `code` if it said
  /// nothing.
  /// @param code a negative errno
  std::string complaint(int code);

 private:
  static void keep(int level, const char* text, void* context);

  void keep_detail(std::string_view line);

  crypt_device* device_ = nullptr;
  std::string path_;
  std::string said_, detail_;
  bool listening_ = false;
};

}  // namespace peelfs::luks
