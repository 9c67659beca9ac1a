// Sizes, columns, and texts from disks on their way to a terminal.
#include "cli/text.h"

#include <gtest/gtest.h>

#include <clocale>

#include "support/support.h"

namespace peelfs::cli {
namespace {

class Locale : public ::testing::Test {
 protected:
  void TearDown() override { std::setlocale(LC_CTYPE, "C"); }
};

// What lsblk (util-linux 2.38) prints for devices of these sizes.
TEST(HumanSize, AsLsblkWritesIt) {
  EXPECT_EQ(human_size(0), "0B");
  EXPECT_EQ(human_size(512), "512B");
  EXPECT_EQ(human_size(1023), "1023B");
  EXPECT_EQ(human_size(1024), "1K");
  EXPECT_EQ(human_size(1536), "1.5K");
  EXPECT_EQ(human_size(134217728), "128M");
  EXPECT_EQ(human_size(133169152), "127M");
  EXPECT_EQ(human_size(8323072), "7.9M");
  EXPECT_EQ(human_size(1000204886016), "931.5G");
  EXPECT_EQ(human_size(8ULL << 40U), "8T");
  EXPECT_EQ(human_size(UINT64_MAX), "16E");
}

TEST_F(Locale, WithoutUtf8EverythingIsAscii) {
  ASSERT_NE(std::setlocale(LC_CTYPE, "C"), nullptr);
  EXPECT_FALSE(unicode_output());
  EXPECT_EQ(shown("gr\xc3\xbc\xc3\x9f"), "gr\\xc3\\xbc\\xc3\\x9f");
  EXPECT_EQ(shown("\x1b[31m\x07"), "\\x1b[31m\\x07");
}

TEST_F(Locale, WithUtf8LettersStayAndControlsGo) {
  if (std::setlocale(LC_CTYPE, "C.UTF-8") == nullptr) GTEST_SKIP() << "no locale C.UTF-8";
  EXPECT_TRUE(unicode_output());
  EXPECT_EQ(shown("gr\xc3\xbcn"), "gr\xc3\xbcn");
  EXPECT_EQ(shown("\xc2\x9b"
                  "31m"),
            "\\xc2\\x9b31m");  // C1: an escape in one character
  EXPECT_EQ(shown("\xff"), "\\xff");
  EXPECT_EQ(display_width("gr\xc3\xbcn"), 4U);
  EXPECT_EQ(display_width("\xe6\xbc\xa2"), 2U);  // one character, two columns
  EXPECT_EQ(pad_right("\xe6\xbc\xa2", 4), "\xe6\xbc\xa2  ");
  EXPECT_EQ(pad_left("x", 3), "  x");
  EXPECT_EQ(pad_left("long", 3), "long");
}

}  // namespace
}  // namespace peelfs::cli
