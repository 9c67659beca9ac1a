#include "cli/digest_list.h"

#include <algorithm>
#include <cctype>

#include "cli/values.h"

namespace peelfs::cli {
namespace {

bool needs_escape(std::string_view name) {
  return name.find_first_of("\\\n\r") != std::string_view::npos;
}

std::string escaped(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c == '\\') {
      text += "\\\\";
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\r') {
      text += "\\r";
    } else {
      text += c;
    }
  }
  return text;
}

/// @return nullopt: a backslash that means nothing
std::optional<std::string> unescaped(std::string_view text) {
  std::string name;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      name += text[i];
      continue;
    }
    const char next = ++i < text.size() ? text[i] : '\0';
    if (next != '\\' && next != 'n' && next != 'r') return std::nullopt;
    name += next == 'n' ? '\n' : next == 'r' ? '\r' : '\\';
  }
  return name;
}

bool is_hexadecimal(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return std::isxdigit(static_cast<unsigned char>(c)) != 0;
  });
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  return result;
}

const DigestAlgorithm* of_length(std::size_t digits,
                                 std::span<const DigestAlgorithm* const> expected) {
  for (const DigestAlgorithm* one : expected) {
    if (one->bytes * 2 == digits) return one;
  }
  if (!expected.empty()) return nullptr;
  for (const DigestAlgorithm& one : digest_algorithms()) {
    if (one.bytes * 2 == digits) return &one;
  }
  return nullptr;
}

/// "SHA256 (NAME) = DIGEST"; of openssl "SHA2-256(NAME)= DIGEST".
std::optional<DigestLine> parse_tagged(std::string_view line) {
  const std::size_t open = line.find('(');
  const std::size_t equals = line.rfind('=');
  if (open == std::string_view::npos || equals == std::string_view::npos) return std::nullopt;
  std::string_view tag = line.substr(0, open);
  if (tag.ends_with(' ')) tag.remove_suffix(1);
  std::string_view name = line.substr(0, equals);
  if (name.ends_with(' ')) name.remove_suffix(1);
  if (!name.ends_with(')') || name.size() < open + 2) return std::nullopt;
  name = name.substr(open + 1, name.size() - open - 2);
  std::string_view digest = line.substr(equals + 1);
  if (digest.starts_with(' ')) digest.remove_prefix(1);
  const DigestAlgorithm* const algorithm = find_digest(tag);
  if (algorithm == nullptr || !is_hexadecimal(digest) || digest.size() != algorithm->bytes * 2) {
    return std::nullopt;
  }
  return DigestLine{algorithm, lower(digest), std::string(name)};
}

/// "DIGEST  NAME"; a star before the name says that it was read as it is.
std::optional<DigestLine> parse_plain(std::string_view line,
                                      std::span<const DigestAlgorithm* const> expected) {
  const std::size_t blank = line.find(' ');
  if (blank == std::string_view::npos || blank + 2 >= line.size()) return std::nullopt;
  const std::string_view digest = line.substr(0, blank);
  if (!is_hexadecimal(digest)) return std::nullopt;
  if (line[blank + 1] != ' ' && line[blank + 1] != '*') return std::nullopt;
  const DigestAlgorithm* const algorithm = of_length(digest.size(), expected);
  if (algorithm == nullptr) return std::nullopt;
  return DigestLine{algorithm, lower(digest), std::string(line.substr(blank + 2))};
}

}  // namespace

std::string digest_line(const DigestAlgorithm& algorithm, std::string_view digest,
                        std::string_view name, DigestFormat format) {
  std::string line(needs_escape(name) ? "\\" : "");
  if (format == DigestFormat::tagged) {
    line += std::string(algorithm.tag) + " (" + escaped(name) + ") = " + std::string(digest);
  } else {
    line += std::string(digest) + "  " + escaped(name);
  }
  return line + "\n";
}

std::optional<DigestLine> parse_digest_line(std::string_view line,
                                            std::span<const DigestAlgorithm* const> expected) {
  if (line.ends_with('\r')) line.remove_suffix(1);  // of a list that went through Windows
  const bool is_escaped = line.starts_with('\\');
  if (is_escaped) line.remove_prefix(1);
  std::optional<DigestLine> result = parse_plain(line, expected);
  if (!result) result = parse_tagged(line);
  if (!result || result->name.empty()) return std::nullopt;
  if (is_escaped) {
    const auto name = unescaped(result->name);
    if (!name) return std::nullopt;
    result->name = *name;
  }
  return result;
}

std::string piece_name(std::string_view name, const ByteRange& piece) {
  // An empty one has no last byte; only an empty device has such a piece.
  const std::uint64_t last = piece.offset + std::max<std::uint64_t>(piece.length, 1) - 1;
  return std::string(name) + " offset " + std::to_string(piece.offset) + "-" + std::to_string(last);
}

std::optional<PieceName> parse_piece_name(std::string_view text) {
  constexpr std::string_view kMark = " offset ";
  const std::size_t mark = text.rfind(kMark);
  if (mark == std::string_view::npos || mark == 0) return std::nullopt;
  const std::string_view range = text.substr(mark + kMark.size());
  const std::size_t dash = range.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = parse_number(range.substr(0, dash));
  const auto last = parse_number(range.substr(dash + 1));
  if (!first || !last || *last < *first || *last == UINT64_MAX) return std::nullopt;
  return PieceName{std::string(text.substr(0, mark)), {*first, *last - *first + 1}};
}

}  // namespace peelfs::cli
