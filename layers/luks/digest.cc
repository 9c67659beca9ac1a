#include "luks/digest.h"

#include <gcrypt.h>

#include <algorithm>

#include "crypto/gcrypt.h"
#include "peelfs/error.h"
#include "peelfs/figure.h"
#include "peelfs/keys.h"

namespace peelfs::luks {

namespace {

constexpr std::size_t kLuks1Bytes = 20;  // LUKS_DIGESTSIZE, whatever the hash is

/// @return 0: libgcrypt does not know it
int algorithm_of(const std::string& hash) {
  // libgcrypt writes an underscore where LUKS writes a hyphen: "blake2b-512".
  std::string name = hash;
  if (name.starts_with("blake2")) std::replace(name.begin(), name.end(), '-', '_');
  return gcry_md_map_name(name.c_str());
}

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

}  // namespace

bool fits(const Digest& digest, Bytes key) {
  require_gcrypt();
  const int algorithm = algorithm_of(digest.hash);
  if (algorithm == 0) {
    throw Error(Fault::unsupported, "a volume key of this LUKS header cannot be checked")
        .found("hash " + digest.hash)
        .expected("one that libgcrypt knows");
  }
  const std::size_t size = gcry_md_get_algo_dlen(algorithm);
  const bool is_whole = digest.value.size() == size || digest.value.size() == kLuks1Bytes;
  if (!is_whole || digest.iterations == 0 || digest.salt.empty() || key.empty()) {
    throw Error(Fault::damaged, "the digest of the volume key in the LUKS header makes no sense")
        .found(std::to_string(digest.value.size()) + " bytes of " + digest.hash + ", " +
               figure(digest.iterations) + " iterations")
        .expected(std::to_string(size) + " bytes");
  }
  Secret computed(digest.value.size());
  const auto code = gcry_kdf_derive(
      key.data(), key.size(), GCRY_KDF_PBKDF2, algorithm, digest.salt.data(), digest.salt.size(),
      static_cast<unsigned long>(digest.iterations), computed.size(), computed.writable().data());
  if (code != 0) {
    throw Error(Fault::unsupported, "a volume key of this LUKS header cannot be checked")
        .found(gcry_strerror(code));
  }
  const Bytes bytes = computed.bytes();
  return std::equal(bytes.begin(), bytes.end(), digest.value.begin(), digest.value.end());
}

std::optional<Buffer> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string_view digits = text;
  for (int padding = 0; padding < 2 && digits.ends_with('='); ++padding) digits.remove_suffix(1);
  Buffer bytes;
  bytes.reserve(digits.size() * 3 / 4);
  unsigned bits = 0;
  unsigned held = 0;  // low bits of `bits` that are not in a byte yet
  for (const char c : digits) {
    const int value = base64_value(c);
    if (value < 0) return std::nullopt;
    bits = (bits << 6U | static_cast<unsigned>(value)) & 0xffffU;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes.push_back(static_cast<std::byte>(bits >> held & 0xffU));
  }
  return bytes;
}

}  // namespace peelfs::luks
