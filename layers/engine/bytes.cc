#include "peelfs/bytes.h"

#include <array>

#include "peelfs/error.h"
#include "peelfs/figure.h"

namespace peelfs {

namespace {

template <typename Integer>
Integer decode(Bytes bytes, bool little_endian) {
  Integer value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t at = little_endian ? bytes.size() - 1 - i : i;
    value = static_cast<Integer>((static_cast<std::uint64_t>(value) << 8U) |
                                 std::to_integer<std::uint64_t>(bytes[at]));
  }
  return value;
}

[[noreturn]] void overflow(std::string_view what, std::uint64_t a, char sign, std::uint64_t b) {
  throw Error(Fault::damaged, std::string(what) + " leaves the range of 64-bit numbers")
      .found(figure(a) + " " + sign + " " + figure(b));
}

std::string hyphenated(const std::array<unsigned, 16>& order, Bytes sixteen) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  const ByteReader reader(sixteen, "UUID");
  std::string text;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    const unsigned byte = reader.u8(order.at(i));
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

}  // namespace

Bytes ByteReader::bytes(std::size_t at, std::size_t length) const {
  if (at > bytes_.size() || length > bytes_.size() - at) {
    throw Error(Fault::damaged, std::string(structure_) + " is cut off")
        .found(std::to_string(bytes_.size()) + " bytes")
        .expected(std::to_string(length) + " bytes at offset " + std::to_string(at));
  }
  return bytes_.subspan(at, length);
}

std::uint8_t ByteReader::u8(std::size_t at) const {
  return std::to_integer<std::uint8_t>(bytes(at, 1)[0]);
}
std::uint16_t ByteReader::le16(std::size_t at) const {
  return decode<std::uint16_t>(bytes(at, 2), true);
}
std::uint32_t ByteReader::le32(std::size_t at) const {
  return decode<std::uint32_t>(bytes(at, 4), true);
}
std::uint64_t ByteReader::le64(std::size_t at) const {
  return decode<std::uint64_t>(bytes(at, 8), true);
}
std::uint16_t ByteReader::be16(std::size_t at) const {
  return decode<std::uint16_t>(bytes(at, 2), false);
}
std::uint32_t ByteReader::be32(std::size_t at) const {
  return decode<std::uint32_t>(bytes(at, 4), false);
}
std::uint64_t ByteReader::be64(std::size_t at) const {
  return decode<std::uint64_t>(bytes(at, 8), false);
}

std::string ByteReader::text(std::size_t at, std::size_t length) const {
  const std::string_view all = as_text(bytes(at, length));
  return std::string(all.substr(0, all.find('\0')));
}

bool ByteReader::has(std::size_t at, std::string_view magic) const noexcept {
  if (at > bytes_.size() || magic.size() > bytes_.size() - at) return false;
  return as_text(bytes_.subspan(at, magic.size())) == magic;
}

std::uint64_t checked_add(std::uint64_t a, std::uint64_t b, std::string_view what) {
  std::uint64_t result = 0;
  if (__builtin_add_overflow(a, b, &result)) overflow(what, a, '+', b);
  return result;
}

std::uint64_t checked_sub(std::uint64_t a, std::uint64_t b, std::string_view what) {
  if (b > a) overflow(what, a, '-', b);
  return a - b;
}

std::uint64_t checked_mul(std::uint64_t a, std::uint64_t b, std::string_view what) {
  std::uint64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) overflow(what, a, '*', b);
  return result;
}

std::string uuid_text(Bytes sixteen) {
  return hyphenated({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, sixteen);
}

std::string guid_text(Bytes sixteen) {
  return hyphenated({3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15}, sixteen);
}

}  // namespace peelfs
