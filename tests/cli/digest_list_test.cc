// Lines of digests, in all the forms that people have lists in.
#include "cli/digest_list.h"

#include <gtest/gtest.h>

#include "support/support.h"

namespace peelfs::cli {
namespace {

const DigestAlgorithm& sha256() {
  return *find_digest("sha256");
}
const std::string kDigest(64, 'a');

std::optional<DigestLine> parsed(const std::string& line, const std::string& expected = "") {
  std::vector<const DigestAlgorithm*> algorithms;
  if (!expected.empty()) algorithms.push_back(find_digest(expected));
  return parse_digest_line(line, algorithms);
}

TEST(DigestList, ReadsWhatItWrites) {
  for (const std::string name : {"a", "a b", " a", "*a", "a\\b", "a\nb", "a\rb", "x (y) = z", "\\",
                                 "a  b", "ümläut", "(", ")", "=", "\\n"}) {
    for (const DigestAlgorithm& algorithm : digest_algorithms()) {
      const std::string digest(algorithm.bytes * 2, 'f');
      for (const DigestFormat format : {DigestFormat::plain, DigestFormat::tagged}) {
        std::string line = digest_line(algorithm, digest, name, format);
        ASSERT_TRUE(line.ends_with('\n'));
        line.pop_back();
        EXPECT_EQ(line.find('\n'), std::string::npos);
        const auto found = parsed(line, std::string(algorithm.name));
        ASSERT_TRUE(found) << line;
        EXPECT_EQ(found->algorithm, &algorithm) << line;
        EXPECT_EQ(found->name, name) << line;
        EXPECT_EQ(found->digest, digest) << line;
      }
    }
  }
}

TEST(DigestList, WritesAsCoreutilsDo) {
  const test::TemporaryDirectory folder;
  for (const std::string name : {"plain", "with blank", "back\\slash", "new\nline", "re\rturn"}) {
    test::write_file(folder / name, as_bytes("text"));
    const std::string digest = test::sha256(as_bytes("text"));
    const std::string quoted = "'" + name + "'";
    EXPECT_EQ(digest_line(sha256(), digest, name, DigestFormat::plain),
              test::must_run("cd " + folder.path() + " && sha256sum " + quoted));
    EXPECT_EQ(digest_line(sha256(), digest, name, DigestFormat::tagged),
              test::must_run("cd " + folder.path() + " && sha256sum --tag " + quoted));
  }
}

TEST(DigestList, ReadsWhatToolsWrite) {
  const auto is = [](const std::optional<DigestLine>& line, const char* algorithm,
                     const std::string& name) {
    return line && line->algorithm == find_digest(algorithm) && line->name == name;
  };
  EXPECT_TRUE(is(parsed(kDigest + "  disk"), "sha256", "disk"));
  EXPECT_TRUE(is(parsed(kDigest + " *disk"), "sha256", "disk"));
  EXPECT_TRUE(is(parsed(kDigest + "  disk\r"), "sha256", "disk"));
  EXPECT_TRUE(is(parsed(std::string(64, 'A') + "  disk"), "sha256", "disk"));
  EXPECT_EQ(parsed(std::string(64, 'A') + "  disk")->digest, kDigest);
  EXPECT_TRUE(is(parsed(std::string(32, '0') + "  disk"), "md5", "disk"));
  EXPECT_TRUE(is(parsed(std::string(40, '0') + "  disk"), "sha1", "disk"));
  EXPECT_TRUE(is(parsed(std::string(128, '0') + "  disk"), "sha512", "disk"));
  EXPECT_TRUE(is(parsed(std::string(128, '0') + "  disk", "blake2b"), "blake2b", "disk"));
  EXPECT_TRUE(is(parsed("SHA2-256(disk)= " + kDigest), "sha256", "disk"));
  EXPECT_TRUE(is(parsed("SHA256(a) b)= " + kDigest), "sha256", "a) b"));
}

TEST(DigestList, ReadsNothingElse) {
  for (const std::string& line :
       {std::string("disk"), kDigest, kDigest + " disk", kDigest + "  ",
        kDigest.substr(1) + "  disk", "g" + kDigest.substr(1) + "  disk",
        "SHA256 (disk) = " + kDigest.substr(2), "SHA257 (disk) = " + kDigest,
        "SHA256 disk = " + kDigest, "SHA256 (disk = " + kDigest, "\\" + kDigest + "  di\\sk",
        "\\" + kDigest + "  disk\\", std::string("=("), "SHA256 () = " + kDigest,
        std::string("\\")}) {
    EXPECT_FALSE(parsed(line)) << line;
  }
  EXPECT_FALSE(parsed(kDigest + "  disk", "md5"));
}

TEST(DigestList, NamesPieces) {
  EXPECT_EQ(piece_name("disk", {512, 1024}), "disk offset 512-1535");
  const auto piece = parse_piece_name("a offset 1 offset 512-1535");
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->name, "a offset 1");
  EXPECT_EQ(piece->piece.offset, 512U);
  EXPECT_EQ(piece->piece.length, 1024U);
  for (const char* text :
       {"disk", "disk offset 5", "disk offset 5-4", "disk offset -4", "disk offset 1-x",
        " offset 1-2", "disk offset 0-18446744073709551615"}) {
    EXPECT_FALSE(parse_piece_name(text)) << text;
  }
}

}  // namespace
}  // namespace peelfs::cli
