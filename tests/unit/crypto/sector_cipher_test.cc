#include "crypto/sector_cipher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "peelfs/error.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

std::string error_of(std::string_view spec, std::size_t key_bytes,
                     std::uint32_t sector_size = 512) {
  try {
    SectorCipher::create(spec, Buffer(key_bytes, std::byte{1}), sector_size);
  } catch (const Error& error) {
    return std::string(fault_name(error.fault())) + ": " + error.what();
  }
  return "(no error)";
}

void expect_error(std::string_view spec, std::size_t key_bytes, const std::string& part) {
  const std::string text = error_of(spec, key_bytes);
  EXPECT_EQ(text.rfind("unsupported: cipher " + std::string(spec), 0), 0U) << text;
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks " << part;
}

TEST(SectorCipher, NamesWhatItDoesNotKnow) {
  expect_error("xchacha20,aes-adiantum-plain64", 32, "mode adiantum");
  expect_error("cast5-cbc-plain64", 16, "block cipher cast5");
  expect_error("cipher_null-ecb", 16, "mode ecb");
  expect_error("aes-ecb", 32, "mode ecb");
  expect_error("aes-lrw-benbi", 48, "mode lrw");
  expect_error("aes-ctr-plain64", 32, "mode ctr");
  expect_error("aes-cbc-eboiv", 32, "IV generator eboiv");
  expect_error("aes-cbc-elephant", 64, "512 bits");
  expect_error("aes:64-cbc-lmk", 64, "several keys");
  expect_error("capi:xts(aes)-plain64", 64, "capi:");
  expect_error("aes-xts", 64, "no IV generator");
  expect_error("aes-xts-plain64:1", 64, "takes no option");
  expect_error("aes-xts-plain64", 40, "aes with a key of 160 bits");
  expect_error("aes-xts-plain64", 33, "cannot be halved");
  expect_error("aes-xts-plain64", 0, "0 bits");
  expect_error("aes-cbc-essiv", 32, "ESSIV hash");
  expect_error("aes-cbc-essiv:sha512", 32, "makes a key of 512 bits, which aes has not");
  expect_error("aes-cbc-essiv:crc32", 32, "ESSIV hash crc32");
  expect_error("twofish-cbc-plain64", 24, "twofish with a key of 192 bits");
  expect_error("", 32, "block cipher");
}

TEST(SectorCipher, RefusesSectorSizesThatDmCryptHasNot) {
  for (const std::uint32_t size : {0U, 1U, 256U, 513U, 1536U, 8192U, 0x80000000U}) {
    const std::string text = error_of("aes-xts-plain64", 64, size);
    EXPECT_NE(text.find("(found " + std::to_string(size) + " bytes, expected 512, 1024"),
              std::string::npos)
        << text;
  }
}

TEST(SectorCipher, OldNamesWithoutAModeAreCbcPlain) {
  const Buffer key = pattern(32, 3);
  const Buffer plain = pattern(4096, 4);
  const auto encrypted = [&](std::string_view spec) {
    Buffer data = plain;
    SectorCipher::create(spec, key, 512)->encrypt(data, 1ULL << 33);
    return data;
  };
  EXPECT_EQ(encrypted("aes-plain"), encrypted("aes-cbc-plain"));
  EXPECT_EQ(encrypted("aes"), encrypted("aes-cbc-plain"));
  EXPECT_NE(encrypted("aes-cbc-plain64"), encrypted("aes-cbc-plain"));
}

TEST(SectorCipher, WorksOnWholeSectorsOnly) {
  const auto cipher = SectorCipher::create("aes-xts-plain64", Buffer(64, std::byte{5}), 4096);
  Buffer data(4096 + 512);
  EXPECT_THROW(cipher->decrypt(data, 0), Error);
  EXPECT_NO_THROW(cipher->decrypt(MutableBytes(data).first(0), 0));
}

// A span decrypts as its parts do, wherever it is cut: batches of IVs leave no seam.
TEST(SectorCipher, PartsMakeTheWhole) {
  for (const char* spec : {"aes-xts-plain64", "aes-cbc-essiv:sha256"}) {
    const auto cipher = SectorCipher::create(spec, pattern(32, 9), 512);
    const Buffer data = pattern(std::size_t{200} * 512, 10);
    Buffer whole = data, parts = data;
    cipher->decrypt(whole, 77);
    for (std::size_t sector = 0; sector < 200;) {
      const std::size_t count = std::min<std::size_t>(1 + sector % 7, 200 - sector);
      cipher->decrypt(MutableBytes(parts).subspan(sector * 512, count * 512), 77 + sector);
      sector += count;
    }
    EXPECT_EQ(whole, parts) << spec;
  }
}

TEST(SectorCipher, ThreadsShareIt) {
  for (const char* spec : {"aes-xts-plain64", "aes-cbc-essiv:sha256"}) {
    const auto cipher = SectorCipher::create(spec, pattern(32, 5), 512);
    const Buffer plain = pattern(std::size_t{16} * 1024, 6);
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (std::uint64_t id = 0; id < 8; ++id) {
      threads.emplace_back([&, id] {
        for (std::uint64_t round = 0; round < 50; ++round) {
          Buffer data = plain;
          cipher->encrypt(data, id * 1000 + round);
          const Buffer encrypted = data;
          cipher->decrypt(data, id * 1000 + round);
          if (data != plain || encrypted == plain) ++wrong;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0) << spec;
  }
}

}  // namespace
}  // namespace peelfs::test
