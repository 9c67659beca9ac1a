#include "peelfs/keys.h"

#include <gtest/gtest.h>

#include "support/support.h"

namespace peelfs::test {
namespace {

Secret secret(std::string_view text) {
  return Secret(as_bytes(text));
}

std::string texts(const std::vector<std::shared_ptr<const Secret>>& keys) {
  std::string all;
  for (const auto& key : keys) all += std::string(as_text(key->bytes())) + ",";
  return all;
}

TEST(Secret, HoldsAndMovesBytes) {
  Secret a = secret("passphrase");
  const Secret copy = a.clone();
  const Secret b = std::move(a);
  EXPECT_EQ(as_text(b.bytes()), "passphrase");
  EXPECT_EQ(as_text(copy.bytes()), "passphrase");
  EXPECT_EQ(a.size(), 0U);  // NOLINT(bugprone-use-after-move): moved-from is empty, by contract
  EXPECT_EQ(Secret().size(), 0U);
  EXPECT_EQ(secret("").size(), 0U);
  EXPECT_EQ(Secret(std::size_t{100'000}).size(), 100'000U);
  Secret c = secret("first");
  c = secret("second");
  EXPECT_EQ(as_text(c.bytes()), "second");
}

TEST(Secret, IsLockedInMemory) {
  const auto locked_kib = [] {
    const std::string status = must_run("grep VmLck /proc/" + std::to_string(getpid()) + "/status");
    return std::stoul(status.substr(status.find_first_of("0123456789")));
  };
  const unsigned long before = locked_kib();
  std::vector<Secret> secrets;
  for (int i = 0; i < 3; ++i) secrets.push_back(secret("key"));
  const unsigned long with = locked_kib();
  if (with == before) GTEST_SKIP() << "this host, or a sanitizer, does not let us lock memory";
  secrets.pop_back();  // its neighbours stay locked
  EXPECT_EQ(locked_kib() - before, (with - before) / 3 * 2);
}

TEST(KeyRing, MostSpecificFirst) {
  KeyRing ring;
  EXPECT_TRUE(ring.empty());
  ring.add_for_all(secret("all1"));
  ring.add_for("vm1", secret("vm1key"));
  ring.add_for("55AC5098-822c-45c1-b8e7-adb7df1eb2d1", secret("uuidkey"));
  ring.add_for_all(secret("all2"));
  EXPECT_FALSE(ring.empty());
  EXPECT_EQ(texts(ring.candidates({"vm1", ""})), "vm1key,all1,all2,");
  EXPECT_EQ(texts(ring.candidates({"x", "55ac5098-822c-45c1-b8e7-adb7df1eb2d1"})),
            "uuidkey,all1,all2,");
  EXPECT_EQ(texts(ring.candidates({"VM1"})), "all1,all2,") << "names are told apart by case";
  EXPECT_EQ(texts(ring.candidates({})), "all1,all2,");
  EXPECT_EQ(texts(ring.candidates({""})), "all1,all2,") << "an empty name is nobody's";
}

TEST(KeyRing, EqualKeysAreTriedOnce) {
  KeyRing ring;
  ring.add_for_all(secret("same"));
  ring.add_for("vm1", secret("same"));
  ring.add_for_all(secret("other"));
  EXPECT_EQ(texts(ring.candidates({"vm1"})), "same,other,");
}

TEST(KeyRing, EachKindIsGivenToThoseWhoAskForIt) {
  KeyRing ring;
  ring.add_for_all(secret("typed"));
  ring.add_for_all({secret("file"), KeyKind::key_file});
  ring.add_for_all({secret("volume"), KeyKind::volume_key});
  ring.add_for("vm1", {secret("digits"), KeyKind::recovery_key});
  EXPECT_EQ(texts(ring.candidates({"vm1"})), "typed,file,") << "what a person types";
  EXPECT_EQ(texts(ring.candidates({"vm1"}, {KeyKind::volume_key})), "volume,");
  EXPECT_EQ(texts(ring.candidates({"vm1"}, {KeyKind::recovery_key, KeyKind::key_file})),
            "digits,file,");
  EXPECT_EQ(texts(ring.candidates({"vm2"}, {KeyKind::recovery_key})), "");
  EXPECT_EQ(texts(ring.candidates({"vm1"}, {KeyKind::startup_key})), "");
}

TEST(KeyRing, TheSameBytesAreAnotherKeyOfAnotherKind) {
  KeyRing ring;
  ring.add_for_all(secret("same"));
  ring.add_for_all({secret("same"), KeyKind::key_file});
  ring.add_for_all({secret("same"), KeyKind::volume_key});
  EXPECT_EQ(texts(ring.candidates({})), "same,") << "used in one way, they are one key";
  EXPECT_EQ(texts(ring.candidates({}, {KeyKind::volume_key})), "same,");
  ring.report({}, secret("same"), false);
  ring.report({}, secret("same"), true, {KeyKind::volume_key});
  const auto uses = ring.uses();
  ASSERT_EQ(uses.size(), 3U);
  EXPECT_TRUE(uses[0].failed && uses[1].failed && !uses[2].failed);
  EXPECT_TRUE(!uses[0].opened && !uses[1].opened && uses[2].opened);
}

// What became of a key does not depend on which of two devices is opened first.
TEST(KeyRing, AKeyLearnsOnlyWhatBecameOfItsOwnDevice) {
  KeyRing ring;
  ring.add_for("vm1", secret("same"));
  ring.add_for("vm2", secret("same"));
  (void)ring.candidates({"vm2"});
  (void)ring.candidates({"vm1"});
  ring.report({"vm1"}, secret("same"), true);
  auto uses = ring.uses();
  EXPECT_TRUE(uses[0].opened && !uses[1].opened && !uses[1].failed);
  ring.report({"vm2"}, secret("same"), false);
  uses = ring.uses();
  EXPECT_TRUE(!uses[0].failed && uses[1].failed && !uses[1].opened);
}

TEST(KeyRing, AKeyOfAnotherKindLearnsWhichAreTaken) {
  KeyRing ring;
  ring.add_for("vm1", {secret("digits"), KeyKind::recovery_key});
  ring.add_for("vm2", {secret("digits"), KeyKind::recovery_key});
  (void)ring.candidates({"vm1"});
  (void)ring.candidates({"vm1"}, {KeyKind::volume_key});
  const auto uses = ring.uses();
  EXPECT_FALSE(uses[0].wanted);
  EXPECT_EQ(text_of(uses[0].others), "a passphrase, a key file or a volume key");
  EXPECT_EQ(text_of(uses[0].kind), "a recovery key");
  EXPECT_TRUE(uses[1].others.empty()) << "given for a device that is not there";
}

TEST(KeyRing, WhatIsKeptHasItsKind) {
  KeyRing ring;
  ring.keep_for("vm1", {secret("volume"), KeyKind::volume_key});
  EXPECT_EQ(texts(ring.candidates({"vm1"})), "");
  EXPECT_EQ(texts(ring.candidates({"vm1"}, {KeyKind::volume_key})), "volume,");
  ASSERT_EQ(ring.named("vm1").size(), 1U);
  EXPECT_EQ(ring.named("vm1").front().kind, KeyKind::volume_key);
  EXPECT_TRUE(ring.uses().empty());
}

std::string bytes_of(const std::optional<Secret>& key) {
  return key ? std::string(as_text(key->bytes())) : "none";
}

TEST(VolumeKey, BytesOrHexadecimalDigits) {
  const std::string raw = "\x01 is no digit of any\xff";
  EXPECT_EQ(bytes_of(volume_key_in(as_bytes(raw))), raw);
  // As "cryptsetup luksDump" prints it.
  EXPECT_EQ(
      bytes_of(volume_key_in(as_bytes("41 42 43 44 45 46 47 48 \n\t49 4a 4B 4c 4d 4e 4f 50\n"))),
      "ABCDEFGHIJKLMNOP");
  // Sixteen bytes that are digits, too, are taken for the eight that they stand for, and refused:
  // no cipher has a key of eight bytes.
  EXPECT_EQ(bytes_of(volume_key_in(as_bytes("0123456789abcdef"))), "none");
  EXPECT_EQ(bytes_of(volume_key_in(as_bytes("0123456789abcdef0123456789abcde"))), "none");
  EXPECT_EQ(bytes_of(volume_key_in(as_bytes("fifteen bytes !"))), "none");
  EXPECT_EQ(bytes_of(volume_key_in({})), "none");
  EXPECT_FALSE(volume_key_in(pattern(513, 1)));
  EXPECT_TRUE(volume_key_in(pattern(512, 1)));
}

}  // namespace
}  // namespace peelfs::test
