#include "peelfs/shell.h"

#include <langinfo.h>

#include <algorithm>
#include <cstring>

#include "peelfs/error.h"

namespace peelfs {

namespace {

bool is_ascii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}

/// A tilde or an equals sign means something to some shell only where a word begins.
bool is_plain(std::string_view word) {
  constexpr std::string_view kSafe =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  return !word.empty() && word.front() != '=' &&
         word.find_first_not_of(kSafe) == std::string_view::npos;
}

bool can_be_shown(std::string_view word) {
  if (printable(word) != word) return false;
  return std::all_of(word.begin(), word.end(), is_ascii) ||
         std::strcmp(::nl_langinfo(CODESET), "UTF-8") == 0;
}

std::string escaped(std::string_view word) {
  std::string result = "$'";
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\'' || c == '\\') {
      result += '\\';
      result += c;
    } else if (byte >= 0x20 && byte < 0x7f) {
      result += c;
    } else {
      // Always three digits, so that one that follows is not taken for a fourth.
      result += '\\';
      for (const unsigned shift : {6U, 3U, 0U}) {
        result += static_cast<char>('0' + (byte >> shift & 7U));
      }
    }
  }
  return result + "'";
}

}  // namespace

std::string shell_word(std::string_view word) {
  if (is_plain(word)) return std::string(word);
  if (!can_be_shown(word)) return escaped(word);
  std::string result = "'";
  for (const char c : word) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c;
    }
  }
  return result + "'";
}

std::string shell_line(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + shell_word(word);
  return line;
}

}  // namespace peelfs
