// Every cipher, IV and sector size against Python's cryptography (OpenSSL), which shares no code
// with libgcrypt; the IVs are computed there from the kernel's description of dm-crypt, not by us.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "crypto/sector_cipher.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

constexpr std::string_view script = R"python(
import sys, hashlib
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

def encrypt(spec, key, sector_size, sector, data):
    name, mode, iv = spec.split('-', 2)
    out = b''
    for at in range(0, len(data), sector_size):
        number = sector + at // 512
        if iv == 'null': v = bytes(16)
        elif iv == 'plain': v = (number & 0xffffffff).to_bytes(16, 'little')
        elif iv == 'plain64': v = number.to_bytes(16, 'little')
        elif iv == 'plain64be': v = number.to_bytes(16, 'big')
        elif iv.startswith('essiv:'):
            salt = hashlib.new(iv.split(':')[1], key).digest()
            e = Cipher(algorithms.AES(salt), modes.ECB()).encryptor()
            v = e.update(number.to_bytes(16, 'little'))
        if name == 'camellia': algorithm = algorithms.Camellia(key)
        else: algorithm = algorithms.AES(key)
        m = modes.XTS(v) if mode == 'xts' else modes.CBC(v)
        e = Cipher(algorithm, m).encryptor()
        out += e.update(data[at:at + sector_size]) + e.finalize()
    return out

plain, result = sys.argv[1:3]
data = open(plain, 'rb').read()
with open(result, 'wb') as f:
    for line in sys.stdin:
        spec, keylen, sector_size, sector = line.split()
        key = bytes((i * 7 + 3) & 255 for i in range(int(keylen)))
        f.write(encrypt(spec, key, int(sector_size), int(sector), data))
)python";

struct Case {
  std::string spec;
  std::size_t key_bytes;
  std::uint32_t sector_size;
  std::uint64_t sector;
};

std::vector<Case> cases() {
  const std::vector<std::pair<std::string, std::vector<std::size_t>>> ciphers{
      {"aes-xts-", {32, 64}}, {"aes-cbc-", {16, 24, 32}}, {"camellia-cbc-", {16, 32}}};
  // 0, an ordinary one, and one so that the run crosses 2^32 sectors, which is 2 TiB.
  constexpr std::uint64_t beyond = (1ULL << 32) - 64;
  std::vector<Case> all;
  for (const auto& [cipher, keys] : ciphers) {
    for (const char* iv : {"null", "plain", "plain64", "plain64be", "essiv:sha256", "essiv:md5"}) {
      const bool camellia = cipher[0] == 'c';
      if (camellia && std::string_view(iv).starts_with("essiv"))
        continue;  // the script's ESSIV is AES
      for (const std::size_t key : keys) {
        for (const std::uint32_t size : {512U, 1024U, 2048U, 4096U}) {
          for (const std::uint64_t sector : {std::uint64_t{0}, std::uint64_t{123456}, beyond}) {
            all.push_back({cipher + iv, key, size, sector});
          }
        }
      }
    }
  }
  return all;
}

Buffer key_of(std::size_t size) {
  Buffer key(size);
  for (std::size_t i = 0; i < size; ++i) key[i] = static_cast<std::byte>((i * 7 + 3) & 255);
  return key;
}

TEST(Oracle, EveryCipherAgreesWithOpenssl) {
  if (run("/usr/bin/python3 -c 'import cryptography'").exit_code != 0) {
    GTEST_SKIP() << "python3-cryptography is not installed";
  }
  // More sectors than one batch of IVs has, at 512 bytes.
  const Buffer plain = pattern(std::size_t{96} * 1024, 42);
  const TemporaryDirectory folder;
  write_file(folder / "plain", plain);
  write_file(folder / "script.py", as_bytes(script));
  std::string list;
  for (const Case& one : cases()) {
    list += one.spec + " " + std::to_string(one.key_bytes) + " " + std::to_string(one.sector_size) +
            " " + std::to_string(one.sector) + "\n";
  }
  write_file(folder / "list", as_bytes(list));
  must_run("cd " + folder.path() + " && /usr/bin/python3 script.py plain result < list");
  const Buffer result = read_file(folder / "result");
  ASSERT_EQ(result.size(), cases().size() * plain.size());

  std::size_t at = 0;
  for (const Case& one : cases()) {
    const auto cipher = SectorCipher::create(one.spec, key_of(one.key_bytes), one.sector_size);
    Buffer data(result.begin() + static_cast<std::ptrdiff_t>(at),
                result.begin() + static_cast<std::ptrdiff_t>(at + plain.size()));
    const Buffer encrypted = data;
    const std::string name = one.spec + " " + std::to_string(one.key_bytes) + " @" +
                             std::to_string(one.sector_size) + " sector " +
                             std::to_string(one.sector);
    cipher->decrypt(data, one.sector);
    EXPECT_TRUE(data == plain) << name;
    cipher->encrypt(data, one.sector);
    EXPECT_TRUE(data == encrypted) << name;
    at += plain.size();
  }
}

}  // namespace
}  // namespace peelfs::test
