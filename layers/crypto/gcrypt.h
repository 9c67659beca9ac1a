// libgcrypt, initialised once, and its errors as ours. Included by the files of this folder and by
// layers that hash; no other file includes <gcrypt.h>.
#pragma once

#include <gcrypt.h>

#include <string_view>

namespace peelfs {

/// Initialises libgcrypt on the first call, with a locked pool for key schedules. Call it before
/// any other function of the library. Thread-safe.
/// @throws Error(Fault::unsupported) when the library is older than the headers it was built with
void require_gcrypt();

/// @param what "cannot set the key of aes-xts-plain64"
/// @throws Error(Fault::unsupported) with libgcrypt's text unless `code` is 0
void check_gcrypt(gcry_error_t code, std::string_view what);

}  // namespace peelfs
