#include "cli/text.h"

#include <langinfo.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>

#include "peelfs/error.h"

namespace peelfs::cli {

std::string human_size(std::uint64_t bytes) {
  constexpr std::string_view kUnits = "BKMGTPE";
  std::size_t unit = 0;
  std::uint64_t one = 1;
  while (unit + 1 < kUnits.size() && bytes / one >= 1024) {
    one *= 1024;
    ++unit;
  }
  std::uint64_t whole = bytes / one;
  // The remainder is below 2^60, so ten times it still fits 64 bits.
  std::uint64_t tenths = (bytes % one * 10 + one / 2) / one;
  if (tenths == 10) {
    ++whole;
    tenths = 0;
  }
  std::string text = std::to_string(whole);
  if (tenths != 0) text += "." + std::to_string(tenths);
  return text + kUnits[unit];
}

bool unicode_output() {
  return std::strcmp(::nl_langinfo(CODESET), "UTF-8") == 0;
}

std::string shown(std::string_view text) {
  std::string safe = printable(text);
  if (unicode_output()) return safe;
  std::string ascii;
  for (const char c : safe) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      ascii += c;
    } else {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      ascii += escaped;
    }
  }
  return ascii;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  std::mbstate_t state{};
  const char* at = text.data();
  std::size_t left = text.size();
  while (left > 0) {
    wchar_t character = 0;
    const std::size_t used = std::mbrtowc(&character, at, left, &state);
    if (used == static_cast<std::size_t>(-1) || used == static_cast<std::size_t>(-2) || used == 0) {
      state = {};
      ++width;
      ++at;
      --left;
      continue;
    }
    const int columns = ::wcwidth(character);
    width += columns < 0 ? 1 : static_cast<std::size_t>(columns);
    at += used;
    left -= used;
  }
  return width;
}

std::string pad_right(std::string_view text, std::size_t width) {
  std::string padded(text);
  const std::size_t has = display_width(text);
  if (has < width) padded.append(width - has, ' ');
  return padded;
}

std::string pad_left(std::string_view text, std::size_t width) {
  const std::size_t has = display_width(text);
  return (has < width ? std::string(width - has, ' ') : std::string()) + std::string(text);
}

void reader_is_gone() {
  std::signal(SIGPIPE, SIG_DFL);
  std::raise(SIGPIPE);
  std::_Exit(128 + SIGPIPE);  // it is blocked, then
}

void put(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size()) return;
  if (errno == EPIPE) reader_is_gone();
  throw Error::system(errno, "cannot write to standard output");
}

void finish_output() {
  if (std::fflush(stdout) == 0) return;
  if (errno == EPIPE) reader_is_gone();
  throw Error::system(errno, "cannot write to standard output");
}

void warn(std::string_view text) {
  const std::string line = "peelfs: warning: " + shown(text) + "\n";
  std::fflush(stdout);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace peelfs::cli
