#include "peelfs/bytes.h"

#include <gtest/gtest.h>

#include "peelfs/error.h"

namespace peelfs {
namespace {

Buffer counted(std::size_t size) {
  Buffer bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i + 1);
  return bytes;
}

TEST(ByteReader, BothByteOrders) {
  const Buffer bytes = counted(16);
  const ByteReader reader(bytes, "test");
  EXPECT_EQ(reader.u8(3), 4);
  EXPECT_EQ(reader.le16(0), 0x0201);
  EXPECT_EQ(reader.be16(0), 0x0102);
  EXPECT_EQ(reader.le32(1), 0x05040302U);
  EXPECT_EQ(reader.be32(1), 0x02030405U);
  EXPECT_EQ(reader.le64(8), 0x100f0e0d0c0b0a09ULL);
  EXPECT_EQ(reader.be64(8), 0x090a0b0c0d0e0f10ULL);
}

TEST(ByteReader, ReadsBeyondTheEndAreErrors) {
  const Buffer bytes = counted(16);
  const ByteReader reader(bytes, "GPT header");
  EXPECT_THROW((void)reader.le64(9), Error);
  EXPECT_THROW((void)reader.u8(16), Error);
  EXPECT_THROW((void)reader.bytes(~std::size_t{0}, 2), Error);
  EXPECT_THROW((void)reader.bytes(2, ~std::size_t{0}), Error);
  EXPECT_FALSE(reader.has(14, "abc"));
  try {
    (void)reader.le32(14);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "GPT header is cut off (found 16 bytes, expected 4 bytes at offset 14)");
  }
}

TEST(ByteReader, TextEndsAtNul) {
  const ByteReader reader(as_bytes(std::string_view("vg\0junk", 7)), "name");
  EXPECT_EQ(reader.text(0, 7), "vg");
  EXPECT_EQ(reader.text(3, 4), "junk");
}

TEST(Checked, SumsAndProductsDoNotWrap) {
  EXPECT_EQ(checked_add(1, 2, "x"), 3U);
  EXPECT_THROW((void)checked_add(~0ULL, 1, "x"), Error);
  EXPECT_THROW((void)checked_sub(1, 2, "x"), Error);
  EXPECT_THROW((void)checked_mul(1ULL << 33U, 1ULL << 31U, "x"), Error);
  EXPECT_EQ(checked_mul(1ULL << 32U, 1ULL << 31U, "x"), 1ULL << 63U);
}

TEST(Rounding, ToPowersOfTwo) {
  EXPECT_EQ(round_down(4097, 4096), 4096U);
  EXPECT_EQ(round_up(4097, 4096), 8192U);
  EXPECT_EQ(round_up(4096, 4096), 4096U);
  EXPECT_EQ(div_round_up(~0ULL, 2), 1ULL << 63U);
}

TEST(Uuid, BothOrders) {
  const Buffer bytes = counted(16);
  EXPECT_EQ(uuid_text(bytes), "01020304-0506-0708-090a-0b0c0d0e0f10");
  EXPECT_EQ(guid_text(bytes), "04030201-0605-0807-090a-0b0c0d0e0f10");
}

}  // namespace
}  // namespace peelfs
