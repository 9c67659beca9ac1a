#include "peel/names.h"

#include <algorithm>

#include "peel/catalog.h"
#include "peelfs/error.h"

namespace peelfs {

namespace {

constexpr std::size_t kLongest = 255;  // NAME_MAX of every filesystem that matters

void append_hex(std::string& result, unsigned char byte) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  result += {'\\', 'x', kDigits[byte >> 4U], kDigits[byte & 15U]};
}

}  // namespace

std::string safe_file_name(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '/' || c == '\\') {
      append_hex(escaped, static_cast<unsigned char>(c));
    } else {
      escaped += c;
    }
  }
  // Backslashes are escapes by now; printable() adds those of control characters and invalid UTF-8.
  std::string name = printable(escaped);
  if (name.empty() || name == "." || name == "..") name = "_" + name;
  if (name.size() > kLongest) {
    std::size_t cut = kLongest - 1;
    while (cut > 0 && (static_cast<unsigned char>(name[cut]) & 0xc0) == 0x80) --cut;
    name.resize(cut);
    name += '~';
  }
  return name;
}

std::string udev_escape(std::string_view text) {
  std::string result;
  for (const char c : safe_file_name(text)) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte >= 0x80 || (byte >= '0' && byte <= '9') ||
                       (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                       std::string_view("#+-.:=@_\\").find(c) != std::string_view::npos;
    if (plain) {
      result += c;
    } else {
      append_hex(result, byte);
    }
  }
  if (result.size() > kLongest) result.resize(kLongest);
  return result;
}

}  // namespace peelfs
