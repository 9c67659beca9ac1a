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
