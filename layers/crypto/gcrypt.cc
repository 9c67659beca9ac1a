#include "crypto/gcrypt.h"

#include <mutex>
#include <string>

#include "peelfs/error.h"

namespace peelfs {
namespace {

// A key schedule takes about 1 KiB, and there is one for each volume and thread that reads it. The
// first pool is locked; the ones that follow when it is full are not, but are wiped all the same.
// Together with the keys this stays far below the 8 MiB that RLIMIT_MEMLOCK allows an ordinary
// user.
constexpr unsigned kLockedPoolBytes = 512 * 1024;
constexpr unsigned kFurtherPoolBytes = 128 * 1024;

void initialise() {
  if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P) != 0) return;  // the host program did it
  if (gcry_check_version(GCRYPT_VERSION) == nullptr) {
    throw Error(Fault::unsupported, "the libgcrypt installed here is too old")
        .found(gcry_check_version(nullptr))
        .expected("at least " GCRYPT_VERSION)
        .advice("install the libgcrypt that peelfs was built with");
  }
  // Where memory cannot be locked the library says so on standard error, once for each process. It
  // is not worth a line in every user's terminal: it matters only where memory is swapped out.
  gcry_control(GCRYCTL_DISABLE_SECMEM_WARN);
  gcry_control(GCRYCTL_INIT_SECMEM, kLockedPoolBytes, 0);
  gcry_control(GCRYCTL_AUTO_EXPAND_SECMEM, kFurtherPoolBytes);
  gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
}

}  // namespace

void require_gcrypt() {
  static std::once_flag once;
  std::call_once(once, initialise);
}

void check_gcrypt(gcry_error_t code, std::string_view what) {
  if (code == 0) return;
  throw Error(Fault::unsupported, std::string(what)).found(gcry_strerror(code));
}

}  // namespace peelfs
