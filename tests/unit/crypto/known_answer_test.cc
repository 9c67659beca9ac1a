// Vectors of IEEE Std 1619-2007, annex B, that fill a whole 512-byte data unit.
#include <gtest/gtest.h>

#include "crypto/sector_cipher.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

Buffer from_hex(std::string_view text) {
  Buffer bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

/// 00 01 ... ff 00 01 ... ff: the plaintext of vectors 4 and 10.
Buffer counting() {
  Buffer bytes(512);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i & 0xff);
  return bytes;
}

constexpr std::string_view vector4_ciphertext =
    "27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89c"
    "c78cf7f5e543445f8333d8fa7f56000005279fa5d8b5e4ad40e736ddb4d35412"
    "328063fd2aab53e5ea1e0a9f332500a5df9487d07a5c92cc512c8866c7e860ce"
    "93fdf166a24912b422976146ae20ce846bb7dc9ba94a767aaef20c0d61ad0265"
    "5ea92dc4c4e41a8952c651d33174be51a10c421110e6d81588ede82103a252d8"
    "a750e8768defffed9122810aaeb99f9172af82b604dc4b8e51bcb08235a6f434"
    "1332e4ca60482a4ba1a03b3e65008fc5da76b70bf1690db4eae29c5f1badd03c"
    "5ccf2a55d705ddcd86d449511ceb7ec30bf12b1fa35b913f9f747a8afd1b130e"
    "94bff94effd01a91735ca1726acd0b197c4e5b03393697e126826fb6bbde8ecc"
    "1e08298516e2c9ed03ff3c1b7860f6de76d4cecd94c8119855ef5297ca67e9f3"
    "e7ff72b1e99785ca0a7e7720c5b36dc6d72cac9574c8cbbc2f801e23e56fd344"
    "b07f22154beba0f08ce8891e643ed995c94d9a69c9f1b5f499027a78572aeebd"
    "74d20cc39881c213ee770b1010e4bea718846977ae119f7a023ab58cca0ad752"
    "afe656bb3c17256a9f6e9bf19fdd5a38fc82bbe872c5539edb609ef4f79c203e"
    "bb140f2e583cb2ad15b4aa5b655016a8449277dbd477ef2c8d6c017db738b18d"
    "eb4a427d1923ce3ff262735779a418f20a282df920147beabe421ee5319d0568";

TEST(KnownAnswer, Ieee1619Vector4) {
  const Buffer key = from_hex("2718281828459045235360287471352631415926535897932384626433832795");
  const auto cipher = SectorCipher::create("aes-xts-plain64", key, 512);
  Buffer data = from_hex(vector4_ciphertext);
  cipher->decrypt(data, 0);
  EXPECT_EQ(data, counting());
  cipher->encrypt(data, 0);
  EXPECT_EQ(data, from_hex(vector4_ciphertext));
}

TEST(KnownAnswer, Ieee1619Vector10) {
  const Buffer key = from_hex(
      "2718281828459045235360287471352662497757247093699959574966967627"
      "3141592653589793238462643383279502884197169399375105820974944592");
  Buffer data = counting();
  SectorCipher::create("aes-xts-plain64", key, 512)->encrypt(data, 0xff);
  data.resize(64);
  EXPECT_EQ(data, from_hex("1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b"
                           "5d31e276f8fe4a8d66b317f9ac683f44680a86ac35adfc3345befecb4bb188fd"));
}

// NIST SP 800-38A, F.2.1: one vector of four blocks; the sector's IV is zero only for sector 0, so
// the first block's plaintext is xored with the vector's IV beforehand.
TEST(KnownAnswer, NistCbcAes128) {
  const Buffer key = from_hex("2b7e151628aed2a6abf7158809cf4f3c");
  Buffer data = from_hex("6bc0bce12a459991e134741a7f9e1925");  // 6bc1bee2... xor 000102...0f
  data.resize(512);
  SectorCipher::create("aes-cbc-plain64", key, 512)->encrypt(data, 0);
  data.resize(16);
  EXPECT_EQ(data, from_hex("7649abac8119b246cee98e9b12e9197d"));
}

}  // namespace
}  // namespace peelfs::test
