// Volumes that real kernels made and read: size, sector size and digest must be theirs.
#include <gtest/gtest.h>

#include <algorithm>

#include "luks_support.h"
#include "manifest.h"
#include "peelfs/devices.h"

namespace peelfs::test {
namespace {

DevicePtr image(const std::string& name) {
  return file_device(fixture_image(name));
}

class LuksFixture : public testing::TestWithParam<std::string> {};

void expect_oracle(const Opened& opened, const nlohmann::json& oracle) {
  ASSERT_EQ(opened.devices.size(), 1U) << reason_of(opened);
  const Inner& inner = opened.devices[0];
  EXPECT_EQ(inner.kind, "crypt");
  EXPECT_EQ(inner.name, "disk_crypt");
  EXPECT_EQ(inner.path, std::vector<std::string>{"crypt"});
  EXPECT_EQ(inner.device->size(), oracle.at("size").get<std::uint64_t>());
  EXPECT_EQ(inner.device->sector_size(), oracle.at("logical_sector").get<std::uint32_t>());
  EXPECT_EQ(sha256(*inner.device), oracle.at("sha256").get<std::string>());
}

TEST_P(LuksFixture, HasTheKernelsBytes) {
  const nlohmann::json entry = fixture(GetParam());
  const DevicePtr device = image(GetParam());
  const auto claim = probe(*device);
  ASSERT_TRUE(claim);
  EXPECT_EQ(claim->format, "crypto_LUKS");
  EXPECT_EQ(claim->uuid.size(), 36U);
  const Keys keys{entry.at("keys").at("passphrase").get<std::string>()};
  const Opened opened = open(device, keys.ring);
  EXPECT_FALSE(opened.trouble) << reason_of(opened);
  expect_oracle(opened, entry.at("oracle").at("luks"));
}

TEST_P(LuksFixture, HasTheKernelsBytesByItsVolumeKey) {
  if (!have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
  const nlohmann::json entry = fixture(GetParam());
  const TemporaryDirectory folder;
  write_file(folder / "key", as_bytes(entry.at("keys").at("passphrase").get<std::string>()));
  must_run("cryptsetup luksDump -q --dump-volume-key --key-file " + (folder / "key") +
           " --volume-key-file " + (folder / "vk") + " " + fixture_image(GetParam()));
  KeyRing ring;
  ring.add_for_all({Secret(read_file(folder / "vk")), KeyKind::volume_key});
  const Opened opened = open(image(GetParam()), ring);
  EXPECT_FALSE(opened.trouble) << reason_of(opened);
  expect_oracle(opened, entry.at("oracle").at("luks"));
}

INSTANTIATE_TEST_SUITE_P(Volumes, LuksFixture,
                         testing::Values("luks1-aesxts", "luks1-aescbcessiv", "luks2-512-argon2id",
                                         "luks2-4096-argon2id", "luks2-twokeys", "luks4kgpt",
                                         "variant3"),
                         [](const auto& chosen) {
                           std::string name = chosen.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(LuksFixtures, ReencryptionThatWasNotStartedReadsAsTheKernelReadIt) {
  const nlohmann::json entry = fixture("luks2-reenc");
  const Keys keys{"fixture-pass-1"};
  const Opened opened = open(image("luks2-reenc"), keys.ring);
  EXPECT_TRUE(contains(reason_of(opened), "note: a reencryption was prepared"));
  expect_oracle(opened, entry.at("oracle").at("luks"));
}

TEST(LuksFixtures, EitherPassphraseOpensTwoKeys) {
  const nlohmann::json entry = fixture("luks2-twokeys");
  for (const char* key : {"passphrase", "passphrase2"}) {
    const Keys keys{"not this one", entry.at("keys").at(key).get<std::string>()};
    expect_oracle(open(image("luks2-twokeys"), keys.ring), entry.at("oracle").at("luks"));
  }
  EXPECT_EQ(probe(*image("luks2-twokeys"))->label, "lukslabel");
}

TEST(LuksFixtures, KeyFileIsTakenByteForByte) {
  const nlohmann::json entry = fixture("luks2-keyfile");
  Buffer bytes = read_file(fixture_key(entry.at("keys").at("keyfile")));
  const Keys keys{as_text(bytes)};
  expect_oracle(open(image("luks2-keyfile"), keys.ring), entry.at("oracle").at("luks"));
  bytes.push_back(std::byte{'\n'});
  const Keys longer{as_text(bytes)};
  EXPECT_EQ(reason_of(open(image("luks2-keyfile"), longer.ring)).rfind("locked: ", 0), 0U);
}

TEST(LuksFixtures, DetachedHeader) {
  const nlohmann::json entry = fixture("luks2-detached");
  const Keys keys{"fixture-pass-1"};
  // fixture_image() unpacks images by the name of their file.
  const DevicePtr data = image("luks2-det-data"), header = image("luks2-det-header");
  EXPECT_FALSE(probe(*data));
  expect_oracle(open(data, keys.ring, quick_limits(), header), entry.at("oracle").at("luks"));
  const Opened alone = open(header, keys.ring);
  EXPECT_TRUE(alone.devices.empty());
  EXPECT_TRUE(contains(reason_of(alone), "note: this is a LUKS header without data"));
  EXPECT_TRUE(contains(reason_of(alone), "--header NAME=PATH"));
}

TEST(LuksFixtures, LuksOnALogicalVolume) {
  const Keys keys{"fixture-pass-1"};
  // Where the LV lies on the disk: vgde and vgdb have one linear LV that begins at the first
  // extent.
  for (const char* name : {"damagedext4", "damagedbtrfs"}) {
    const DevicePtr disk = image(name);
    std::uint64_t start = 0;
    for (std::uint64_t at = 0; at < disk->size() && start == 0; at += 65536) {
      if (as_text(read_up_to(*disk, at, 6)) == std::string_view("LUKS\xba\xbe", 6)) start = at;
    }
    ASSERT_NE(start, 0U) << name;
    const nlohmann::json oracle = fixture(name).at("oracle").at("luks");
    const std::uint64_t size = oracle.at("size").get<std::uint64_t>() + (1U << 20U);
    const DevicePtr lv = make_slice(disk, start, size, "LV");
    expect_oracle(open(lv, keys.ring), oracle);
  }
}

TEST(LuksFixtures, WhatComesLaterIsNamed) {
  const Keys none{};
  const auto reason = [&](const char* name) {
    const DevicePtr device = image(name);
    EXPECT_TRUE(probe(*device)) << name;
    return error_of([&] { open(device, none.ring); });
  };
  EXPECT_TRUE(contains(reason("luks1-serpent"),
                       "unsupported: keyslot 0 is not tried: cipher "
                       "serpent-xts-plain64 of the keyslot cannot be "
                       "decrypted yet; it comes in a later release"));
  EXPECT_TRUE(contains(reason("luks2-serpent"), "cipher serpent-xts-plain64"));
  EXPECT_TRUE(
      contains(reason("luks2-adiantum"),
               "unsupported: cipher xchacha20,aes-adiantum-plain64 cannot be decrypted yet"));
  EXPECT_TRUE(
      contains(reason("luks2-hmac"),
               "unsupported: LUKS2 with authenticated encryption (dm-integrity) cannot be read "
               "yet (found hmac(sha256) with aes-xts-plain64)"));
}

// Their keyslots cannot be opened yet, but what is behind them can: these keys were computed with
// Python and libgcrypt from the passphrase, and fit the digests in the headers.
TEST(LuksFixtures, AVolumeKeyOpensWhatNoKeyslotDoes) {
  const std::pair<const char*, const char*> keys[] = {
      {"luks1-serpent",
       "ddec1d746b93d07941f79c56a32d5f080a84af959a5465bcb436eb695fe8334970489bb524c37a95a4fc2a7aa32"
       "a"
       "ea412cdc54b8988b5c0ea69e6a87b149ce55"},
      {"luks2-serpent",
       "f2c6fe0e82f8e6f67e045ce311a994f33e20f4f23b7f42d07abc686785b24406dd46fa46e23198ddb9d0d6f020b"
       "f"
       "a88fa4af7a7c1f1e2aa697b4da7b182d071e"}};
  for (const auto& [name, digits] : keys) {
    KeyRing ring;
    auto key = volume_key_in(as_bytes(digits));
    ASSERT_TRUE(key);
    ring.add_for_all({*std::move(key), KeyKind::volume_key});
    expect_oracle(open(image(name), ring), fixture(name).at("oracle").at("luks"));
  }
}

TEST(LuksFixtures, WithoutAKeyItIsLocked) {
  const Keys none{}, wrong{"wrong"}, wrongs{"wrong", "also wrong"};
  const DevicePtr device = image("luks1-aesxts");
  EXPECT_TRUE(open(device, none.ring).devices.empty());
  EXPECT_TRUE(
      contains(reason_of(open(device, none.ring)), "locked: no key given; try --key NAME="));
  EXPECT_TRUE(
      contains(reason_of(open(device, wrong.ring)), "locked: the key given does not open it"));
  EXPECT_TRUE(
      contains(reason_of(open(device, wrongs.ring)), "locked: none of the 2 keys given opens"));
}

TEST(LuksFixtures, KeepsTheContractOfADevice) {
  const Keys keys{"fixture-pass-1"};
  check_contract(*open(image("luks2-4096-argon2id"), keys.ring).devices.at(0).device);
  check_contract(*open(image("luks1-aescbcessiv"), keys.ring).devices.at(0).device);
}

}  // namespace
}  // namespace peelfs::test
