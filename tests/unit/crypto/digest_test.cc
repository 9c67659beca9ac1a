// Digests, against the tools that people compare them with.
#include "crypto/digest.h"

#include <gtest/gtest.h>

#include "support/support.h"

namespace peelfs {
namespace {

/// The digest of a file by a tool that is not ours; "" where it is not installed.
std::string by_tool(const DigestAlgorithm& algorithm, const std::string& path) {
  const std::string name(algorithm.name == "blake2b" ? "blake2b512" : algorithm.name);
  const test::CommandResult result = test::run("openssl dgst -r -" + name + " '" + path +
                                               "' 2>/dev/null || openssl dgst -r -provider legacy "
                                               "-provider default -" +
                                               name + " '" + path + "' 2>/dev/null");
  if (result.exit_code != 0) return "";
  return result.output.substr(0, result.output.find(' '));
}

TEST(Digests, AreThoseOfOpenssl) {
  if (!test::have_program("openssl")) GTEST_SKIP() << "openssl is not installed";
  const test::TemporaryDirectory folder;
  std::size_t compared = 0;
  for (const std::size_t size : {0U, 1U, 63U, 64U, 111U, 128U, 100'000U}) {
    const Buffer bytes = test::pattern(size, size + 1);
    test::write_file(folder / "file", bytes);
    for (const DigestAlgorithm& algorithm : digest_algorithms()) {
      const std::string expected = by_tool(algorithm, folder / "file");
      if (expected.empty()) continue;
      ++compared;
      Digest digest(algorithm);
      digest.update(Bytes(bytes).first(size / 3));
      digest.update(Bytes(bytes).subspan(size / 3));
      EXPECT_EQ(digest.finish(), expected) << algorithm.name << " of " << size;
      EXPECT_EQ(expected.size(), algorithm.bytes * 2) << algorithm.name;
      digest.update(bytes);  // it has begun anew
      EXPECT_EQ(digest.finish(), expected) << algorithm.name;
      digest.update(bytes);
      digest.reset();
      digest.update(bytes);
      EXPECT_EQ(digest.finish(), expected) << algorithm.name;
    }
  }
  EXPECT_GE(compared, 7 * 10U);
}

TEST(Digests, TakeZeroesAsIfTheyWereBytes) {
  for (const DigestAlgorithm& algorithm : digest_algorithms()) {
    for (const std::size_t count : {1U, 64U, 65'536U, 200'001U}) {
      Digest one(algorithm);
      one.update(Buffer(5, std::byte{7}));
      one.update_zeroes(count);
      Buffer same(5 + count);
      std::fill_n(same.begin(), 5, std::byte{7});
      Digest other(algorithm);
      other.update(same);
      EXPECT_EQ(one.finish(), other.finish()) << algorithm.name << " " << count;
    }
  }
}

TEST(Digests, AreKnownByTheNamesThatToolsWrite) {
  for (const DigestAlgorithm& algorithm : digest_algorithms()) {
    EXPECT_EQ(find_digest(algorithm.name), &algorithm);
    EXPECT_EQ(find_digest(algorithm.tag), &algorithm) << algorithm.tag;
  }
  EXPECT_EQ(find_digest("SHA2-256"), find_digest("sha256"));
  EXPECT_EQ(find_digest("SHA-512"), find_digest("sha512"));
  EXPECT_EQ(find_digest("BLAKE2b512"), find_digest("blake2b"));
  EXPECT_EQ(find_digest("sha257"), nullptr);
  EXPECT_EQ(find_digest(""), nullptr);
  EXPECT_NE(digest_names().find("sha256, md5, sha1"), std::string::npos);
}

}  // namespace
}  // namespace peelfs
