#include "crypto/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "crypto/gcrypt.h"
#include "peelfs/error.h"

namespace peelfs {

/// Which of the two libraries computes it, and its name there.
struct DigestImplementation {
  int gcrypt = 0;                 ///< 0: OpenSSL computes it
  const char* openssl = nullptr;  ///< null: libgcrypt does
};

namespace {

// The faster library of each, one thread, 1 MiB at a time, on an x86-64 with SHA instructions
// (libgcrypt 1.10.1, OpenSSL 3.0): MD5 1.12, SHA-1 1.02, SHA-384 1.07, SHA-512 1.02 times as fast
// by OpenSSL; SHA-224 and SHA-256 the same; BLAKE2b 1.27, SHA-3 1.1, SM3 1.45 by libgcrypt.
constexpr DigestImplementation kMd5{0, "MD5"}, kSha1{0, "SHA1"}, kSha224{GCRY_MD_SHA224, nullptr},
    kSha256{GCRY_MD_SHA256, nullptr}, kSha384{0, "SHA384"}, kSha512{0, "SHA512"},
    kBlake2b{GCRY_MD_BLAKE2B_512, nullptr}, kSha3_256{GCRY_MD_SHA3_256, nullptr},
    kSha3_512{GCRY_MD_SHA3_512, nullptr}, kSm3{GCRY_MD_SM3, nullptr},
    kRipemd160{GCRY_MD_RMD160, nullptr};

constexpr std::array kAlgorithms{
    DigestAlgorithm{"sha256", "SHA256", 32, &kSha256},
    DigestAlgorithm{"md5", "MD5", 16, &kMd5},
    DigestAlgorithm{"sha1", "SHA1", 20, &kSha1},
    DigestAlgorithm{"sha224", "SHA224", 28, &kSha224},
    DigestAlgorithm{"sha384", "SHA384", 48, &kSha384},
    DigestAlgorithm{"sha512", "SHA512", 64, &kSha512},
    DigestAlgorithm{"blake2b", "BLAKE2b", 64, &kBlake2b},
    DigestAlgorithm{"sha3-256", "SHA3-256", 32, &kSha3_256},
    DigestAlgorithm{"sha3-512", "SHA3-512", 64, &kSha3_512},
    DigestAlgorithm{"sm3", "SM3", 32, &kSm3},
    DigestAlgorithm{"ripemd160", "RIPEMD160", 20, &kRipemd160},
};

/// In the spelling of `name`.
std::string plain_name(std::string_view text) {
  std::string name;
  for (const char c : text) {
    name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (name.starts_with("sha-")) name.erase(3, 1);   // SHA-256
  if (name.starts_with("sha2-")) name.erase(3, 2);  // SHA2-256
  if (name == "blake2b512" || name == "blake2b-512" || name == "blake2") name = "blake2b";
  if (name == "rmd160" || name == "ripemd") name = "ripemd160";
  return name;
}

std::string hexadecimal(std::span<const unsigned char> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

}  // namespace

std::span<const DigestAlgorithm> digest_algorithms() {
  return kAlgorithms;
}

const DigestAlgorithm* find_digest(std::string_view name) {
  const auto* const found =
      std::ranges::find(kAlgorithms, plain_name(name), &DigestAlgorithm::name);
  return found == kAlgorithms.end() ? nullptr : found;
}

std::string digest_names() {
  std::string text;
  for (const DigestAlgorithm& one : kAlgorithms) {
    text += (text.empty() ? "" : ", ") + std::string(one.name);
  }
  return text;
}

struct Digest::State {
  explicit State(const DigestAlgorithm& which) : algorithm(which) {
    if (algorithm.implementation->openssl != nullptr) {
      kind = EVP_get_digestbyname(algorithm.implementation->openssl);
      context = EVP_MD_CTX_new();
      if (kind == nullptr || context == nullptr) refuse();
      begin();
      return;
    }
    require_gcrypt();
    check_gcrypt(gcry_md_open(&handle, algorithm.implementation->gcrypt, 0),
                 "this host does not compute " + std::string(algorithm.name));
  }
  ~State() {
    EVP_MD_CTX_free(context);
    gcry_md_close(handle);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void begin() {
    if (EVP_DigestInit_ex(context, kind, nullptr) != 1) refuse();
  }
  [[noreturn]] void refuse() {
    // The destructor does not run when the constructor throws.
    EVP_MD_CTX_free(std::exchange(context, nullptr));
    throw Error(Fault::unsupported,
                "this host does not compute " + std::string(algorithm.name) + " (OpenSSL)");
  }

  const DigestAlgorithm& algorithm;
  gcry_md_hd_t handle = nullptr;
  const EVP_MD* kind = nullptr;
  EVP_MD_CTX* context = nullptr;
};

Digest::Digest(const DigestAlgorithm& algorithm) : state_(std::make_unique<State>(algorithm)) {}
Digest::~Digest() = default;
Digest::Digest(Digest&& other) noexcept = default;
Digest& Digest::operator=(Digest&& other) noexcept = default;

void Digest::update(Bytes bytes) {
  if (state_->handle != nullptr) return gcry_md_write(state_->handle, bytes.data(), bytes.size());
  if (EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) != 1) state_->refuse();
}

void Digest::update_zeroes(std::uint64_t count) {
  constexpr std::size_t kPiece = 64U << 10U;  // stays in the processor's cache
  static const std::array<std::byte, kPiece> zeroes{};
  while (count != 0) {
    const auto some = static_cast<std::size_t>(std::min<std::uint64_t>(count, kPiece));
    update(Bytes(zeroes).first(some));
    count -= some;
  }
}

std::string Digest::finish() {
  if (state_->handle != nullptr) {
    const unsigned char* const bytes = gcry_md_read(state_->handle, 0);
    std::string text = hexadecimal({bytes, state_->algorithm.bytes});
    gcry_md_reset(state_->handle);
    return text;
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned length = 0;
  if (EVP_DigestFinal_ex(state_->context, bytes.data(), &length) != 1) state_->refuse();
  state_->begin();
  return hexadecimal(std::span(bytes).first(length));
}

void Digest::reset() {
  if (state_->handle != nullptr) return gcry_md_reset(state_->handle);
  state_->begin();
}

}  // namespace peelfs
