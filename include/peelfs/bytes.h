// Bytes that came from a disk, and arithmetic on numbers that came from a disk. Both are checked: a
// read outside the buffer or a sum that wraps is an Error(Fault::damaged), never undefined
// behaviour.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace peelfs {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;
using Buffer = std::vector<std::byte>;

/// Reads fields of an on-disk structure. It does not own the bytes. Offsets are in bytes from the
/// start of the structure. Thread-safe: it holds nothing that changes.
class ByteReader {
 public:
  /// @param structure the specification's name of what is decoded ("GPT header"), for messages
  ByteReader(Bytes bytes, std::string_view structure) : bytes_(bytes), structure_(structure) {}

  std::uint8_t u8(std::size_t at) const;
  std::uint16_t le16(std::size_t at) const;
  std::uint32_t le32(std::size_t at) const;
  std::uint64_t le64(std::size_t at) const;
  std::uint16_t be16(std::size_t at) const;
  std::uint32_t be32(std::size_t at) const;
  std::uint64_t be64(std::size_t at) const;
  Bytes bytes(std::size_t at, std::size_t length) const;
  /// The bytes as characters up to the first NUL, or all of them.
  std::string text(std::size_t at, std::size_t length) const;
  /// Whether exactly these characters stand there; false when the buffer ends before.
  bool has(std::size_t at, std::string_view magic) const noexcept;
  std::size_t size() const noexcept { return bytes_.size(); }

 private:
  Bytes bytes_;
  std::string_view structure_;
};

/// Writes a big-endian field of an on-disk structure of ours. The caller has made room for it.
template <typename Number>
void put_be(MutableBytes bytes, std::size_t at, Number value) noexcept {
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    bytes[at + i] = static_cast<std::byte>(value >> (8 * (sizeof(Number) - 1 - i)));
  }
}

/// Sums and products of numbers from a disk. @param what the thing counted, for the message.
std::uint64_t checked_add(std::uint64_t a, std::uint64_t b, std::string_view what);
std::uint64_t checked_sub(std::uint64_t a, std::uint64_t b, std::string_view what);
std::uint64_t checked_mul(std::uint64_t a, std::uint64_t b, std::string_view what);

/// For a power of two `alignment`. round_up must not overflow: check the operand's bound first.
constexpr std::uint64_t round_down(std::uint64_t value, std::uint64_t alignment) noexcept {
  return value & ~(alignment - 1);
}
constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t alignment) noexcept {
  return round_down(value + alignment - 1, alignment);
}
constexpr std::uint64_t div_round_up(std::uint64_t value, std::uint64_t by) noexcept {
  return value / by + (value % by != 0 ? 1 : 0);
}

/// "8-4-4-4-12" lower-case text of 16 bytes in the order they are stored (RFC 4122).
std::string uuid_text(Bytes sixteen);
/// The same for a GUID as EFI stores it: the first three fields little-endian.
std::string guid_text(Bytes sixteen);

inline std::string_view as_text(Bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace peelfs
