// How a volume key is known to be the right one: a LUKS header holds a digest of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "peelfs/bytes.h"

namespace peelfs::luks {

/// PBKDF2 of a volume key (LUKS1: mk-digest; LUKS2: a digest of type "pbkdf2").
struct Digest {
  std::string hash;              ///< as the header names it: "sha256"
  std::uint64_t iterations = 0;  ///< in a LUKS header below 2^32
  Buffer salt;
  Buffer value;  ///< 20 bytes of LUKS1, otherwise as long as the hash is
};

/// Whether a key is the one that the digest is of. Takes as long as the iterations say.
/// @throws Error(Fault::unsupported) for a hash that libgcrypt does not know, Error(Fault::damaged)
///   for a digest that would fit too many keys
bool fits(const Digest& digest, Bytes key);

/// Base 64 (RFC 4648, section 4), with its padding. @return nullopt when it is not that
std::optional<Buffer> decode_base64(std::string_view text);

}  // namespace peelfs::luks
