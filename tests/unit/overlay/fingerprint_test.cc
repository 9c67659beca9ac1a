// The fingerprint in an overlay may have been written by anyone.
#include "overlay/fingerprint.h"

#include <gtest/gtest.h>

#include "peelfs/error.h"

namespace peelfs::test {
namespace {

overlay::Fingerprint decode(const std::string& samples, const std::string& tables) {
  const std::string text =
      R"({"version": 1, "path": "/x", "format": "raw", "size": 1000000000000, "block_device": true,)"
      R"("samples": )" +
      samples + R"(, "tables": )" + tables + "}";
  return overlay::decode_fingerprint(as_bytes(text));
}

TEST(Fingerprint, KeepsWhatItSays) {
  const overlay::Fingerprint fingerprint =
      decode(R"([[0, 1048576, "ab"]])", R"([[4096, 16384, "cd"]])");
  ASSERT_EQ(fingerprint.samples.size(), 1U);
  ASSERT_EQ(fingerprint.tables.size(), 1U);
  EXPECT_EQ(fingerprint.tables[0].offset, 4096U);
  EXPECT_EQ(overlay::decode_fingerprint(overlay::encode(fingerprint)).tables[0].sha256, "cd");
}

TEST(Fingerprint, DoesNotAskForMoreThanWasEverTaken) {
  EXPECT_THROW(decode("[]", R"([[0, 21474836480, ""]])"), Error);
  EXPECT_THROW(decode(R"([[0, 18446744073709551615, ""]])", "[]"), Error);
  std::string many = "[";
  for (int i = 0; i < 100'000; ++i) many += R"([0, 1, ""],)";
  many.back() = ']';
  EXPECT_THROW(decode(many, "[]"), Error);
  EXPECT_THROW(decode("[]", many), Error);
  std::string large = "[";
  for (int i = 0; i < 20; ++i) large += R"([0, 1048576, ""],)";
  large.back() = ']';
  EXPECT_THROW(decode("[]", large), Error);
}

}  // namespace
}  // namespace peelfs::test
