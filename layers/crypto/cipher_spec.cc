#include "crypto/cipher_spec.h"

#include <algorithm>
#include <array>
#include <optional>

#include "crypto/gcrypt.h"
#include "peelfs/error.h"

namespace peelfs {
namespace {

struct BlockCipher {
  std::string_view name;
  std::size_t key_bytes;
  int algorithm;
};

// Names as in the kernel's crypto API. The kernel's key sizes that libgcrypt has no variant for
// (twofish with 192 bits) are left out and refused by their size.
constexpr std::array kBlockCiphers{
    BlockCipher{"aes", 16, GCRY_CIPHER_AES128},
    BlockCipher{"aes", 24, GCRY_CIPHER_AES192},
    BlockCipher{"aes", 32, GCRY_CIPHER_AES256},
    BlockCipher{"serpent", 16, GCRY_CIPHER_SERPENT128},
    BlockCipher{"serpent", 24, GCRY_CIPHER_SERPENT192},
    BlockCipher{"serpent", 32, GCRY_CIPHER_SERPENT256},
    BlockCipher{"twofish", 16, GCRY_CIPHER_TWOFISH128},
    BlockCipher{"twofish", 32, GCRY_CIPHER_TWOFISH},
    BlockCipher{"camellia", 16, GCRY_CIPHER_CAMELLIA128},
    BlockCipher{"camellia", 24, GCRY_CIPHER_CAMELLIA192},
    BlockCipher{"camellia", 32, GCRY_CIPHER_CAMELLIA256},
};

struct Hash {
  std::string_view name;
  int algorithm;
};
constexpr std::array kEssivHashes{
    Hash{"sha256", GCRY_MD_SHA256}, Hash{"md5", GCRY_MD_MD5},       Hash{"sha1", GCRY_MD_SHA1},
    Hash{"sha224", GCRY_MD_SHA224}, Hash{"sha384", GCRY_MD_SHA384}, Hash{"sha512", GCRY_MD_SHA512},
};

Error unsupported(std::string_view text, const std::string& why) {
  return Error(Fault::unsupported,
               "cipher " + std::string(text) + " cannot be decrypted yet: " + why)
      .advice("more ciphers, modes and IV generators come in a later release");
}

std::optional<int> find_block_cipher(std::string_view name, std::size_t key_bytes) {
  for (const BlockCipher& cipher : kBlockCiphers) {
    if (cipher.name == name && cipher.key_bytes == key_bytes) return cipher.algorithm;
  }
  return std::nullopt;
}

int block_cipher(std::string_view text, std::string_view name, std::size_t key_bytes) {
  const bool known = std::any_of(kBlockCiphers.begin(), kBlockCiphers.end(),
                                 [&](const BlockCipher& cipher) { return cipher.name == name; });
  if (!known) throw unsupported(text, "the block cipher " + std::string(name) + " is not known");
  const std::optional<int> algorithm = find_block_cipher(name, key_bytes);
  if (!algorithm) {
    throw unsupported(text, std::string(name) + " with a key of " + std::to_string(key_bytes * 8) +
                                " bits is not known");
  }
  return *algorithm;
}

IvKind iv_kind(std::string_view text, std::string_view name) {
  if (name == "plain64") return IvKind::plain64;
  if (name == "plain") return IvKind::plain;
  if (name == "plain64be") return IvKind::plain64be;
  if (name == "essiv") return IvKind::essiv;
  if (name == "null") return IvKind::null;
  throw unsupported(text, "the IV generator " + std::string(name) + " is not known");
}

void set_essiv(CipherSpec& spec, std::string_view cipher, std::string_view hash_name) {
  const auto* hash = std::find_if(kEssivHashes.begin(), kEssivHashes.end(),
                                  [&](const Hash& known) { return known.name == hash_name; });
  if (hash == kEssivHashes.end()) {
    throw unsupported(spec.text, "the ESSIV hash " + std::string(hash_name) + " is not known");
  }
  require_gcrypt();
  const std::size_t digest_bytes = gcry_md_get_algo_dlen(hash->algorithm);
  const std::optional<int> algorithm = find_block_cipher(cipher, digest_bytes);
  if (!algorithm) {
    throw unsupported(spec.text, "ESSIV with " + std::string(hash_name) + " makes a key of " +
                                     std::to_string(digest_bytes * 8) + " bits, which " +
                                     std::string(cipher) + " has not");
  }
  spec.essiv_hash = hash->algorithm;
  spec.essiv_algorithm = *algorithm;
}

/// What stands before the first `separator`; `rest` becomes what stands behind it.
std::string_view cut(std::string_view& rest, char separator) {
  const std::size_t at = rest.find(separator);
  const std::string_view head = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view{} : rest.substr(at + 1);
  return head;
}

template <typename Number>
void put_le(std::span<std::byte> out, Number number) {
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    out[i] = static_cast<std::byte>((number >> (8 * i)) & 0xff);
  }
}

}  // namespace

CipherSpec parse_cipher_spec(std::string_view text, std::size_t key_bytes) {
  std::string_view rest = text;
  const std::string_view cipher = cut(rest, '-');
  std::string_view mode = cut(rest, '-');
  std::string_view option = rest;
  std::string_view iv = cut(option, ':');
  if (cipher.find(':') != std::string_view::npos) {
    throw unsupported(text, "several keys for one volume (loop-AES) and capi: names are not known");
  }
  // dm-crypt's oldest names leave the mode out: "aes" and "aes-plain" mean CBC with the plain IV.
  if (mode.empty() || (mode == "plain" && iv.empty())) {
    mode = "cbc";
    iv = "plain";
  }

  CipherSpec spec;
  spec.text = std::string(text);
  if (mode == "xts") {
    spec.mode = ChainMode::xts;
    if (key_bytes % 2 != 0) {
      throw unsupported(text, "xts needs a key of two halves, and " + std::to_string(key_bytes) +
                                  " bytes cannot be halved");
    }
    spec.algorithm = block_cipher(text, cipher, key_bytes / 2);
  } else if (mode == "cbc") {
    spec.mode = ChainMode::cbc;
    spec.algorithm = block_cipher(text, cipher, key_bytes);
  } else {
    throw unsupported(text, "the mode " + std::string(mode) + " is not known");
  }

  if (iv.empty()) throw unsupported(text, "it names no IV generator");
  spec.iv = iv_kind(text, iv);
  if (spec.iv == IvKind::essiv) {
    set_essiv(spec, cipher, option);
  } else if (!option.empty()) {
    throw unsupported(text, "the IV generator " + std::string(iv) + " takes no option");
  }
  return spec;
}

void write_ivs(IvKind kind, std::uint64_t sector, std::uint32_t step, std::span<std::byte> out) {
  std::fill(out.begin(), out.end(), std::byte{0});
  if (kind == IvKind::null) return;
  for (; !out.empty(); out = out.subspan(kCipherBlockBytes), sector += step) {
    switch (kind) {
      case IvKind::null:
        break;
      case IvKind::plain:
        put_le(out, static_cast<std::uint32_t>(sector & 0xffff'ffff));
        break;
      case IvKind::plain64:
      case IvKind::essiv:
        put_le(out, sector);
        break;
      case IvKind::plain64be: {
        std::array<std::byte, sizeof(sector)> little{};
        put_le(std::span<std::byte>(little), sector);
        std::reverse_copy(little.begin(), little.end(), out.begin() + sizeof(sector));
        break;
      }
    }
  }
}

}  // namespace peelfs
