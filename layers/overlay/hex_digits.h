// Bytes as text, in what overlays note in their headers.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace peelfs::overlay {

/// Two lower-case hexadecimal digits a byte.
inline std::string hex_digits(std::span<const unsigned char> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

}  // namespace peelfs::overlay
