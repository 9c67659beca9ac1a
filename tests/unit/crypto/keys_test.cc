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

}  // namespace
}  // namespace peelfs::test
