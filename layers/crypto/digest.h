// Message digests, as md5sum, sha256sum, b2sum and their like compute them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "peelfs/bytes.h"

namespace peelfs {

/// A digest algorithm. Two of the same algorithm are the same object.
struct DigestAlgorithm {
  std::string_view name;  ///< as a person names it: "sha256"
  std::string_view tag;   ///< as the BSD format does: "SHA256"
  std::size_t bytes = 0;  ///< length of the digest
  int gcrypt = 0;         ///< libgcrypt's number
};

/// All that there are, the usual ones first.
std::span<const DigestAlgorithm> digest_algorithms();

/// @param name also in capitals, and as OpenSSL spells it: "SHA2-256", "SHA-256", "BLAKE2b512"
/// @return nullptr: there is none
const DigestAlgorithm* find_digest(std::string_view name);

/// "md5, sha1, sha256": for messages.
std::string digest_names();

/// One digest in the making. Not thread-safe.
class Digest {
 public:
  /// @throws Error(Fault::unsupported) when the host forbids the algorithm (FIPS mode)
  explicit Digest(const DigestAlgorithm& algorithm);
  ~Digest();
  Digest(Digest&& other) noexcept;
  Digest& operator=(Digest&& other) noexcept;

  void update(Bytes bytes);
  void update_zeroes(std::uint64_t count);
  /// @return the digest of all bytes so far in lower-case hexadecimal digits; it begins anew
  std::string finish();
  /// Forgets the bytes so far.
  void reset();

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace peelfs
