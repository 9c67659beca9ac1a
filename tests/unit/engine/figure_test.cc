#include "peelfs/figure.h"

#include <gtest/gtest.h>

#include "peelfs/bytes.h"
#include "peelfs/error.h"

namespace peelfs {
namespace {

TEST(Figure, WhatNoDiskHasIsNotRepeated) {
  EXPECT_EQ(figure(0), "0");
  EXPECT_EQ(figure(1ULL << 60U), "1152921504606846976");
  EXPECT_EQ(figure((1ULL << 60U) + 1), "(an absurd number)");
  EXPECT_EQ(figure(~0ULL), "(an absurd number)");
  EXPECT_EQ(figure(1ULL << 51U, 512), "2251799813685248");
  EXPECT_EQ(figure((1ULL << 51U) + 1, 512), "(an absurd number)");
}

TEST(Figure, InHexadecimal) {
  EXPECT_EQ(hex_figure(4096), "0x1000");
  EXPECT_EQ(hex_figure(1ULL << 60U), "0x1000000000000000");
  EXPECT_EQ(hex_figure(0x3fff'ffff'ffff'0000ULL), "(an absurd number)");
}

TEST(Figure, CountsAreRepeatedNearWhatIsPossible) {
  EXPECT_EQ(count_figure(0, 10), "0");
  EXPECT_EQ(count_figure(65537, 65536), "65537");
  EXPECT_EQ(count_figure(0xffff'ffff, 65536), "(an absurd number)");
  EXPECT_EQ(count_figure(~0ULL, 4), "(an absurd number)");
}

TEST(Figure, NorWhereNumbersAreAdded) {
  try {
    (void)checked_add(~0ULL - 5, 4096, "end of a table");
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("(an absurd number) + 4096"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace peelfs
