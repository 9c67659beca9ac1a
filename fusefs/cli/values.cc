#include "cli/values.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

namespace peelfs::cli {

Error usage(std::string what) {
  return Error(Fault::usage, std::move(what));
}

void need_value(std::string_view name, std::string_view value) {
  if (value.empty()) throw usage("option '" + std::string(name) + "' needs a value");
}

void refuse_value(std::string_view name, std::string_view value) {
  if (!value.empty()) throw usage("option '" + std::string(name) + "' takes no value");
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, value);
  if (text.empty() || problem != std::errc() || stop != end) return std::nullopt;
  return value;
}

std::uint64_t parse_size(std::string_view text, std::string_view what) {
  const auto wrong = [&] {
    return usage(std::string(what) + ": no number of bytes")
        .found("'" + printable(text) + "'")
        .expected("a number, with K, M, G, T or P behind it if you like, as in 64K");
  };
  std::string_view digits = text;
  while (!digits.empty() && (digits.back() < '0' || digits.back() > '9')) digits.remove_suffix(1);
  const std::string_view suffix = text.substr(digits.size());
  const auto number = parse_number(digits);
  if (!number) throw wrong();
  std::uint64_t unit = 1;
  if (!suffix.empty() && suffix != "B") {
    constexpr std::string_view kUnits = "KMGTPE";
    const char letter = suffix[0] == 'k' ? 'K' : suffix[0];
    const auto power = kUnits.find(letter);
    const std::string_view rest = suffix.substr(1);
    if (power == std::string_view::npos || (!rest.empty() && rest != "iB" && rest != "B")) {
      throw wrong();
    }
    const std::uint64_t base = rest == "B" ? 1000 : 1024;
    for (std::size_t i = 0; i <= power; ++i) unit *= base;
  }
  if (*number > std::numeric_limits<std::uint64_t>::max() / unit) throw wrong();
  return *number * unit;
}

std::string_view closest(std::string_view word, const std::vector<std::string_view>& known) {
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  std::vector<std::size_t> row;
  for (const std::string_view candidate : known) {
    // One row of the table of edit distances (Wagner and Fischer) at a time.
    row.resize(candidate.size() + 1);
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = i;
    for (std::size_t w = 0; w < word.size(); ++w) {
      std::size_t diagonal = std::exchange(row[0], w + 1);
      for (std::size_t c = 0; c < candidate.size(); ++c) {
        const std::size_t replaced = diagonal + (word[w] == candidate[c] ? 0 : 1);
        diagonal = row[c + 1];
        row[c + 1] = std::min({replaced, row[c] + 1, diagonal + 1});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace peelfs::cli
