// Volume keys, as cryptsetup tells them, and the digests that prove them.
#include <gtest/gtest.h>

#include "luks/digest.h"
#include "luks_support.h"
#include "peelfs/budget.h"
#include "peelfs/cancel.h"

namespace peelfs::test {
namespace {

class VolumeKey : public testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
    write_file(path("key"), as_bytes("secret"));
  }
  std::string path(const std::string& name) const { return folder_ / name; }

  void format(const std::string& name, const std::string& options) const {
    const bool luks2 = options.find("luks2") != std::string::npos;
    must_run("truncate -s 4M " + path(name) + " && cryptsetup luksFormat -q " + options +
             (luks2 ? " --pbkdf pbkdf2 --luks2-keyslots-size 512k" : "") +
             " --pbkdf-force-iterations 1000 " + path(name) + " " + path("key"));
  }
  /// What cryptsetup says the volume key is.
  Buffer dumped(const std::string& name) const {
    must_run("rm -f " + path("vk") + " && cryptsetup luksDump -q --dump-volume-key --key-file " +
             path("key") + " --volume-key-file " + path("vk") + " " + path(name));
    return read_file(path("vk"));
  }
  Opened open_with(const std::string& name, Credential key, Budget* budget = nullptr,
                   const Cancel* cancel = nullptr) const {
    KeyRing ring;
    ring.add_for_all(std::move(key));
    Member member;
    member.device = file_device(path(name));
    member.stem = member.tail = "disk";
    const std::vector<Member> members{member};
    return luks_open(
        {members, ring, quick_limits(), nullptr, 0, budget, nullptr, nullptr, {}, cancel});
  }
  Opened open_by(const std::string& name, Bytes key) const {
    return open_with(name, {Secret(key), KeyKind::volume_key});
  }
  Buffer plaintext(const Opened& opened) const {
    if (opened.devices.size() != 1U) return {};
    const BlockDevice& device = *opened.devices.front().device;
    return read_bytes(device, 0, device.size());
  }
  TemporaryDirectory folder_;
};

TEST_F(VolumeKey, OpensWhatThePassphraseOpens) {
  int number = 0;
  for (const char* options :
       {"--type luks1 --cipher aes-xts-plain64 --key-size 512 --hash sha1",
        "--type luks1 --cipher aes-cbc-essiv:sha256 --key-size 128 --hash sha512",
        "--type luks1 --cipher aes-xts-plain64 --key-size 256 --hash ripemd160",
        "--type luks2 --cipher aes-xts-plain64 --key-size 512 --hash sha256",
        "--type luks2 --cipher aes-xts-plain64 --key-size 256 --hash sha512 --sector-size 4096",
        "--type luks2 --cipher aes-cbc-plain64 --key-size 256 --hash blake2b-512",
        "--type luks2 --cipher aes-xts-plain64 --key-size 512 --hash sha3-256"}) {
    const std::string name = "volume" + std::to_string(number++);
    format(name, options);
    const Buffer key = dumped(name);
    const Buffer expected = plaintext(open_with(name, secret("secret")));
    ASSERT_FALSE(expected.empty()) << options;
    const Opened opened = open_by(name, key);
    ASSERT_EQ(opened.devices.size(), 1U) << options << ": " << reason_of(opened);
    EXPECT_TRUE(plaintext(opened) == expected) << options;
    EXPECT_FALSE(opened.trouble) << reason_of(opened);
    Buffer wrong = key;
    wrong.back() ^= std::byte{1};
    EXPECT_TRUE(contains(reason_of(open_by(name, wrong)),
                         "locked: the volume key given is not the one of this volume"))
        << options;
    EXPECT_TRUE(open_by(name, Bytes(key).first(key.size() / 2)).devices.empty()) << options;
    EXPECT_TRUE(open_with(name, Secret(key)).devices.empty()) << "it is no passphrase";
    EXPECT_TRUE(open_by(name, as_bytes("secret")).devices.empty()) << "nor the other way round";
  }
}

// HMAC fills a key up with zeroes: their digests are the same.
TEST_F(VolumeKey, WithZeroesBehindItIsAnotherKey) {
  for (const char* options : {"--type luks1 --cipher aes-xts-plain64 --key-size 256",
                              "--type luks2 --cipher aes-xts-plain64 --key-size 256",
                              "--type luks2 --cipher aes-cbc-plain64 --key-size 128"}) {
    const std::string name = "padded" + std::to_string(std::string(options).size());
    format(name, options);
    const Buffer key = dumped(name);
    for (const std::size_t size : {24U, 32U, 64U}) {
      if (size <= key.size()) continue;
      Buffer longer = key;
      longer.resize(size);
      const Opened opened = open_by(name, longer);
      EXPECT_TRUE(opened.devices.empty()) << options << ", " << size;
      EXPECT_TRUE(contains(reason_of(opened), "locked: the volume key given is not the one"))
          << reason_of(opened);
    }
    must_run("rm " + path(name));
  }
}

TEST_F(VolumeKey, AsCryptsetupPrintsIt) {
  format("v", "--type luks2 --cipher aes-xts-plain64 --key-size 512");
  const std::string text =
      must_run("cryptsetup luksDump -q --dump-volume-key --key-file " + path("key") + " " +
               path("v") + " | sed -n '/^MK dump:/,$p' | sed 's/^MK dump://'");
  const auto key = volume_key_in(as_bytes(text));
  ASSERT_TRUE(key) << text;
  const Buffer raw = dumped("v");
  EXPECT_TRUE(Buffer(key->bytes().begin(), key->bytes().end()) == raw) << text;
  EXPECT_EQ(open_by("v", key->bytes()).devices.size(), 1U);
}

TEST_F(VolumeKey, NeedsNoKeyslot) {
  for (const char* type : {"luks1", "luks2"}) {
    format(type, std::string("--cipher aes-xts-plain64 --type ") + type);
    const Buffer key = dumped(type);
    const Buffer expected = plaintext(open_with(type, secret("secret")));
    must_run("cryptsetup erase -q " + path(type));
    EXPECT_TRUE(contains(reason_of(open_with(type, secret("secret"))), "no keyslot"));
    EXPECT_TRUE(contains(reason_of(open_with(type, secret("secret"))), "--volume-key"));
    EXPECT_TRUE(plaintext(open_by(type, key)) == expected) << type;
    Buffer wrong = key;
    wrong.front() ^= std::byte{0x80};
    EXPECT_TRUE(contains(reason_of(open_by(type, wrong)), "locked: the volume key given"));
  }
}

// While a reencryption is prepared the header has two volume keys, and the data are under the old
// one. libcryptsetup's own check would take the new one.
TEST_F(VolumeKey, TheKeyOfAReencryptionThatHasNotBegunIsNotTaken) {
  format("v", "--type luks2 --offset 2048");
  must_run("truncate -s 2M " + path("v"));
  const Buffer old_key = dumped("v");
  const Buffer expected = plaintext(open_with("v", secret("secret")));
  const Buffer new_key = pattern(64, 77);
  write_file(path("new"), new_key);
  must_run("cryptsetup reencrypt -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --init-only " +
           std::string("--resilience checksum --key-size 512 --volume-key-file ") + path("new") +
           " --key-file " + path("key") + " " + path("v"));
  EXPECT_TRUE(plaintext(open_by("v", old_key)) == expected);
  EXPECT_TRUE(open_by("v", new_key).devices.empty());
  must_run("cryptsetup reencrypt -q --resume-only --force-offline-reencrypt --key-file " +
           path("key") + " " + path("v"));
  EXPECT_TRUE(plaintext(open_by("v", new_key)) == expected);
  EXPECT_TRUE(open_by("v", old_key).devices.empty());
}

TEST_F(VolumeKey, TheRingLearnsOfIt) {
  format("v", "--type luks1");
  KeyRing ring;
  ring.add_for_all({Secret(dumped("v")), KeyKind::volume_key});
  ring.add_for_all({Secret(pattern(64, 1)), KeyKind::volume_key});
  ring.add_for_all(secret("secret"));
  EXPECT_EQ(open(file_device(path("v")), ring).devices.size(), 1U);
  const auto uses = ring.uses();
  EXPECT_TRUE(uses[0].opened && !uses[0].failed);
  EXPECT_TRUE(uses[1].wanted && !uses[1].opened && !uses[1].failed) << "not needed any more";
  EXPECT_TRUE(uses[2].wanted && !uses[2].failed && !uses[2].opened);
}

TEST_F(VolumeKey, TheRunPaysForTheDigest) {
  format("v", "--type luks1");
  const Credential key{Secret(dumped("v")), KeyKind::volume_key};
  Budget budget{Limits{}};
  EXPECT_EQ(open_with("v", key, &budget).devices.size(), 1U);
  EXPECT_LT(budget.left(Budget::Kind::kdf_milliseconds),
            Budget(Limits{}).left(Budget::Kind::kdf_milliseconds));
  budget.take(Budget::Kind::kdf_milliseconds, UINT64_MAX);
  EXPECT_TRUE(contains(reason_of(open_with("v", key, &budget)), "--kdf-seconds"));
  Limits limits = quick_limits();
  limits.kdf_iterations = 10;
  KeyRing ring;
  ring.add_for_all(key);
  EXPECT_TRUE(contains(error_of([&] { (void)open(file_device(path("v")), ring, limits); }),
                       "--kdf-iterations"));
}

TEST_F(VolumeKey, ACancelledRunTriesNone) {
  format("v", "--type luks1");
  Cancel cancel;
  const Credential key{Secret(dumped("v")), KeyKind::volume_key};
  EXPECT_EQ(open_with("v", key, nullptr, &cancel).devices.size(), 1U);
  cancel.request();
  for (const Credential& one : {key, Credential(secret("secret"))}) {
    const Opened opened = open_with("v", one, nullptr, &cancel);
    EXPECT_TRUE(opened.devices.empty());
    EXPECT_EQ(reason_of(opened), "locked: not all keys were tried: the run was cancelled");
  }
}

TEST(Base64, AsTheRfcHasIt) {
  // RFC 4648, section 10
  const auto decoded = [](std::string_view text) {
    const auto bytes = luks::decode_base64(text);
    return bytes ? std::string(as_text(*bytes)) : "none";
  };
  EXPECT_EQ(decoded(""), "");
  EXPECT_EQ(decoded("Zg=="), "f");
  EXPECT_EQ(decoded("Zm8="), "fo");
  EXPECT_EQ(decoded("Zm9v"), "foo");
  EXPECT_EQ(decoded("Zm9vYg=="), "foob");
  EXPECT_EQ(decoded("Zm9vYmE="), "fooba");
  EXPECT_EQ(decoded("Zm9vYmFy"), "foobar");
  EXPECT_EQ(decoded("+/+/"), "\xfb\xff\xbf");
  for (const char* bad : {"Zg", "Zg=", "Z===", "Zm9v\n", "Zm 9", "=Zm9"}) {
    EXPECT_EQ(decoded(bad), "none") << bad;
  }
}

// RFC 6070, section 2, shows what PBKDF2 makes of "password" and "salt".
TEST(Digest, AsTheRfcHasIt) {
  luks::Digest digest{"sha1", 4096, {}, {}};
  for (const char c : std::string_view("salt")) digest.salt.push_back(static_cast<std::byte>(c));
  for (const unsigned byte :
       {0x4bU, 0x00U, 0x79U, 0x01U, 0xb7U, 0x65U, 0x48U, 0x9aU, 0xbeU, 0xadU,
        0x49U, 0xd9U, 0x26U, 0xf7U, 0x21U, 0xd0U, 0x65U, 0xa4U, 0x29U, 0xc1U}) {
    digest.value.push_back(static_cast<std::byte>(byte));
  }
  EXPECT_TRUE(luks::fits(digest, as_bytes("password")));
  EXPECT_FALSE(luks::fits(digest, as_bytes("passwore")));
  digest.value.pop_back();
  EXPECT_TRUE(contains(error_of([&] { (void)luks::fits(digest, as_bytes("password")); }),
                       "damaged: the digest of the volume key"));
  digest.value.clear();
  EXPECT_TRUE(
      contains(error_of([&] { (void)luks::fits(digest, as_bytes("password")); }), "damaged"))
      << "a digest of no bytes would fit every key";
  digest.hash = "no-such-hash";
  EXPECT_TRUE(contains(error_of([&] { (void)luks::fits(digest, as_bytes("password")); }),
                       "unsupported: a volume key of this LUKS header cannot be checked"));
}

}  // namespace
}  // namespace peelfs::test
