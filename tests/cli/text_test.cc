// Sizes, columns, and texts from disks on their way to a terminal.
#include "cli/text.h"

#include <gtest/gtest.h>

#include <clocale>

#include "cli/text_table.h"
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

TEST(TextTable, LeavesOutWhatIsEmptyOrDoesNotFit) {
  TextTable table({{.heading = "NAME"},
                   {.heading = "SIZE", .right = true},
                   {.heading = "EMPTY"},
                   {.heading = "KEPT", .keep_empty = true},
                   {.heading = "LABEL", .dispensable = 1},
                   {.heading = "UUID", .dispensable = 2}});
  table.add({{"a"}, {"1M"}, {""}, {""}, {"label"}, {"0123456789"}});
  table.add({{"bb"}, {"10M"}, {""}, {""}, {""}, {""}});
  EXPECT_EQ(table.text({}),
            "NAME SIZE KEPT LABEL UUID\n"
            "a      1M      label 0123456789\n"
            "bb    10M\n");
  EXPECT_EQ(table.text({.width = 31}), table.text({}));
  EXPECT_EQ(table.text({.width = 30}),
            "NAME SIZE KEPT LABEL\n"
            "a      1M      label\n"
            "bb    10M\n");
  EXPECT_EQ(table.text({.width = 5, .headings = false}),
            "a      1M\n"
            "bb    10M\n");
}

TEST(Wrapped, BreaksAtBlanks) {
  EXPECT_EQ(wrapped("one two three", 0, 2), "one two three");
  EXPECT_EQ(wrapped("one two three", 7, 2), "one two\n  three");
  EXPECT_EQ(wrapped("one two three", 13, 2), "one two three");
  EXPECT_EQ(wrapped("a-word-that-is-long and b", 5, 2), "a-word-that-is-long\n  and\n  b");
  EXPECT_EQ(wrapped("", 5, 2), "");
}

}  // namespace
}  // namespace peelfs::cli
