#include "peelfs/error.h"

#include <gtest/gtest.h>

#include "peelfs/layer.h"

namespace peelfs {
namespace {

TEST(Error, SaysWhatWhereFoundExpectedAndNext) {
  Error error = Error(Fault::damaged, "GPT header checksum is wrong")
                    .found("0x1")
                    .expected("0x2")
                    .advice("the backup header is tried next");
  error.add_context("LV vg/lv");
  error.add_context("os43.qcow2");
  EXPECT_STREQ(error.what(),
               "os43.qcow2: LV vg/lv: GPT header checksum is wrong (found 0x1, expected 0x2); the "
               "backup header is tried next");
  EXPECT_EQ(error.error_number(), EIO);
  EXPECT_EQ(trouble_from(error).state, Trouble::damaged);
}

TEST(Error, TheSameContextIsSaidOnce) {
  Error error(Fault::io, "cannot read");
  error.add_context("os43");
  error.add_context("os43");
  EXPECT_STREQ(error.what(), "os43: cannot read");
}

TEST(Error, KeepsTheErrnoOfTheHost) {
  EXPECT_EQ(Error::system(ENOSPC, "writing").error_number(), ENOSPC);
  EXPECT_EQ(Error::system(ENOENT, "opening x").fault(), Fault::missing);
  EXPECT_EQ(Error::system(EPERM, "opening x").fault(), Fault::denied);
  EXPECT_EQ(Error::system(EIO, "reading").fault(), Fault::io);
}

TEST(Printable, TerminalEscapesNeverPass) {
  EXPECT_EQ(printable("a\x1b[31mb"), "a\\x1b[31mb");
  EXPECT_EQ(printable("tab\tnewline\n\x7f"), "tab\\x09newline\\x0a\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b") << "C1 control in UTF-8";
  EXPECT_EQ(printable("\xe2\x80\xae"), "\\xe2\\x80\\xae") << "right-to-left override";
}

TEST(Printable, Utf8IsKeptAndBrokenUtf8Escaped) {
  EXPECT_EQ(printable("p\xc3\xa4ss \xe2\x82\xac \xf0\x9f\x92\xbe"),
            "p\xc3\xa4ss \xe2\x82\xac \xf0\x9f\x92\xbe");
  EXPECT_EQ(printable("\xc3"), "\\xc3") << "cut off";
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf") << "overlong";
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "surrogate";
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80") << "beyond Unicode";
}

TEST(Hex, HasNoLeadingZeroes) {
  EXPECT_EQ(hex(0), "0x0");
  EXPECT_EQ(hex(0x1f), "0x1f");
  EXPECT_EQ(hex(~0ULL), "0xffffffffffffffff");
}

}  // namespace
}  // namespace peelfs
