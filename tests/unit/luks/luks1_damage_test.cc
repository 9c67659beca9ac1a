// Each way in which a LUKS1 header can be wrong. It has no checksum: every field is as it is found.
#include <gtest/gtest.h>

#include "luks_support.h"

namespace peelfs::test {
namespace {

constexpr std::string_view passphrase = "passphrase";

/// A volume of 1 MiB behind 2 MiB of header; slot 0 in use.
const Buffer& sound_disk() {
  static const Buffer disk = [] {
    const TemporaryDirectory folder;
    write_file(folder / "key", as_bytes(passphrase));
    must_run(
        "cd " + folder.path() +
        " && truncate -s 3M disk && cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations "
        "1000 --cipher aes-xts-plain64 --key-size 512 disk key");
    return read_file(folder / "disk");
  }();
  return disk;
}

class Luks1Damage : public testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
  }

  static void put_be(Buffer& disk, std::size_t at, std::uint64_t number, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      disk.at(at + i) = static_cast<std::byte>((number >> (8 * (size - 1 - i))) & 0xff);
    }
  }
  static void put_text(Buffer& disk, std::size_t at, std::string_view text) {
    std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(at), 32, std::byte{0});
    std::copy_n(as_bytes(text).begin(), text.size(),
                disk.begin() + static_cast<std::ptrdiff_t>(at));
  }

  std::string reason_with(const std::function<void(Buffer&)>& change) {
    Buffer disk = sound_disk();
    change(disk);
    const DevicePtr device = std::make_shared<MemoryDevice>(std::move(disk));
    EXPECT_TRUE(probe(*device));
    try {
      const Opened opened = open(device, keys_.ring);
      return opened.devices.empty() ? reason_of(opened) : "(opened)";
    } catch (const Error& error) {
      return std::string(fault_name(error.fault())) + ": " + error.what();
    }
  }
  std::string with_be32(std::size_t at, std::uint64_t number) {
    return reason_with([&](Buffer& disk) { put_be(disk, at, number, 4); });
  }

  Keys keys_{passphrase};
};

constexpr std::size_t version = 6, cipher_name = 8, cipher_mode = 40, hash_spec = 72,
                      payload_offset = 104, key_bytes = 108, mk_digest = 112,
                      mk_digest_iterations = 164, slot0 = 208, slot1 = 256;

TEST_F(Luks1Damage, SoundDiskOpens) {
  EXPECT_EQ(reason_with([](Buffer&) {}), "(opened)");
}

TEST_F(Luks1Damage, Version) {
  EXPECT_TRUE(contains(reason_with([](Buffer& disk) { put_be(disk, version, 7, 2); }),
                       "unsupported: LUKS version is not known (found 7, expected 1 or 2)"));
}

TEST_F(Luks1Damage, Texts) {
  EXPECT_TRUE(contains(
      reason_with([](Buffer& disk) { put_text(disk, hash_spec, "nosuch"); }),
      "unsupported: LUKS header cannot be used: Requested LUKS hash nosuch is not supported"));
  EXPECT_TRUE(contains(reason_with([](Buffer& disk) { put_text(disk, cipher_name, "nosuch"); }),
                       "unsupported: cipher nosuch-xts-plain64 cannot be decrypted yet"));
  EXPECT_TRUE(
      contains(reason_with([](Buffer& disk) { put_text(disk, cipher_mode, "xts-\x1b[31m"); }),
               "\\x1b[31m is not known"));
  EXPECT_TRUE(
      contains(reason_with([](Buffer& disk) { put_text(disk, cipher_mode, ""); }), "cipher aes- "));
  EXPECT_TRUE(contains(reason_with([](Buffer& disk) {
                         std::fill_n(disk.begin() + cipher_name, 96, std::byte{'a'});
                       }),
                       "unsupported: "));
}

TEST_F(Luks1Damage, KeyBytes) {
  for (const std::uint64_t number : {0ULL, 513ULL, 0xffffffffULL, 0x80000000ULL}) {
    EXPECT_TRUE(contains(with_be32(key_bytes, number),
                         "damaged: LUKS1 header: key-bytes is out of range (found " +
                             std::to_string(number) + ", expected 1 to 512)"));
  }
  EXPECT_TRUE(contains(with_be32(key_bytes, 32), "locked: the key given does not open it"));
  // libcryptsetup would turn to the kernel.
  EXPECT_TRUE(contains(with_be32(key_bytes, 48),
                       "unsupported: keyslot 0 is not tried: cipher aes-xts-plain64 of the keyslot "
                       "with a key of 384 bits cannot be decrypted yet"));
  EXPECT_TRUE(contains(with_be32(key_bytes, 40), "aes with a key of 160 bits is not known"));
}

TEST_F(Luks1Damage, ANameThatIsDividedElsewhere) {
  for (const auto& [name, mode] :
       {std::pair("aes-xts", "plain64"), std::pair("aes-cbc", "essiv:sha256")}) {
    EXPECT_TRUE(contains(reason_with([&, name = name, mode = mode](Buffer& disk) {
                           put_text(disk, cipher_name, name);
                           put_text(disk, cipher_mode, mode);
                           put_be(disk, key_bytes, 32, 4);
                         }),
                         "is not divided into name and mode"))
        << name;
  }
}

TEST_F(Luks1Damage, PayloadOffset) {
  // 0 is what a detached header has.
  EXPECT_TRUE(contains(with_be32(payload_offset, 0), "note: this is a LUKS header without data"));
  EXPECT_TRUE(
      contains(with_be32(payload_offset, 6144), "note: this is a LUKS header without data"));
  EXPECT_TRUE(contains(
      with_be32(payload_offset, 6145),
      "damaged: the device ends before the encrypted data begins (found 3145728 bytes, expected "
      "more than 3146240)"));
  EXPECT_TRUE(contains(with_be32(payload_offset, 0xffffffff), "expected more than 2199023255040)"));
  EXPECT_TRUE(
      contains(with_be32(payload_offset, 9), "damaged: LUKS header is not valid: LUKS keyslot"));
}

TEST_F(Luks1Damage, Keyslots) {
  for (const std::uint64_t offset : {0ULL, 1ULL, 0xffffffffULL, 0x7fffffffULL, 4095ULL}) {
    EXPECT_TRUE(contains(with_be32(slot0 + 40, offset),
                         "damaged: LUKS header is not valid: LUKS keyslot "));
  }
  EXPECT_TRUE(contains(with_be32(slot1 + 40, 9), "is invalid")) << "areas overlap";
  for (const std::uint64_t stripes : {0ULL, 1ULL, 4001ULL, 0xffffffffULL}) {
    EXPECT_TRUE(contains(with_be32(slot0 + 44, stripes), "LUKS keyslot 0 is invalid"));
  }
  EXPECT_TRUE(
      contains(with_be32(slot0, 0xdead), "locked: no keyslot of this LUKS header is in use"));
  EXPECT_TRUE(
      contains(with_be32(slot0, 0x12345678), "locked: no keyslot of this LUKS header is in use"));
  // A slot that is enabled but holds nothing: no key fits.
  EXPECT_TRUE(contains(reason_with([](Buffer& disk) {
                         put_be(disk, slot0, 0xdead, 4);
                         put_be(disk, slot1, 0x00AC71F3, 4);
                         put_be(disk, slot1 + 4, 1000, 4);
                       }),
                       "locked: the key given does not open it"));
}

TEST_F(Luks1Damage, Iterations) {
  EXPECT_TRUE(contains(
      with_be32(slot0 + 4, 0xffffffff),
      "locked: keyslot 0 is not tried: it demands 4294967295 PBKDF2 iterations, the limit is "
      "100000000; raise it with --kdf-iterations"));
  EXPECT_TRUE(contains(
      with_be32(mk_digest_iterations, 0xffffffff),
      "demands too many iterations (found 4294967295 PBKDF2 iterations, expected at most"));
  EXPECT_NE(with_be32(slot0 + 4, 0), "(opened)");
  EXPECT_NE(with_be32(mk_digest_iterations, 0), "(opened)");
}

TEST_F(Luks1Damage, DigestAndKeyMaterial) {
  EXPECT_TRUE(contains(reason_with([](Buffer& disk) { disk[mk_digest] ^= std::byte{1}; }),
                       "locked: the key given does not open it"));
  EXPECT_TRUE(contains(reason_with([](Buffer& disk) { disk[8 * 512] ^= std::byte{1}; }),
                       "locked: the key given does not open it"));
}

TEST_F(Luks1Damage, CutOff) {
  const auto at = [&](std::size_t size) {
    return reason_with([&](Buffer& disk) { disk.resize(size); });
  };
  EXPECT_TRUE(contains(at(100), "damaged: LUKS1 header is cut off (found 100 bytes, expected "));
  EXPECT_TRUE(contains(at(591), "damaged: LUKS1 header is cut off (found 591 bytes, expected "));
  EXPECT_TRUE(
      contains(at(592), "the device ends before the encrypted data begins (found 592 bytes"));
  EXPECT_TRUE(contains(at(1U << 20U), "damaged: the device ends before the encrypted data begins"));
  EXPECT_TRUE(contains(at(2U << 20U), "note: this is a LUKS header without data"));
  EXPECT_TRUE(contains(at((2U << 20U) + 511), "note: this is a LUKS header without data"));
  EXPECT_EQ(at((2U << 20U) + 512), "(opened)");
  Buffer seven(sound_disk().begin(), sound_disk().begin() + 7);
  EXPECT_FALSE(probe(MemoryDevice(std::move(seven))));
  EXPECT_FALSE(probe(MemoryDevice(Buffer())));
}

TEST_F(Luks1Damage, TextsOfAProbeAreRaw) {
  Buffer disk = sound_disk();
  std::fill_n(disk.begin() + 168, 40, std::byte{0xff});
  const auto claim = probe(MemoryDevice(std::move(disk)));
  ASSERT_TRUE(claim);
  EXPECT_EQ(claim->uuid, std::string(40, '\xff'));
}

}  // namespace
}  // namespace peelfs::test
