#include "cli/exit_codes.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "cli/values.h"

namespace peelfs::cli {
namespace {

constexpr int kMostCode = 255;

/// @param whole the list that it stands in, for the message
int parse_code(const std::string& text, const std::string& whole) {
  const auto number = parse_number(text);
  if (!number || *number > kMostCode) {
    throw usage("--ok: which exit codes of the command are good")
        .found("'" + printable(whole) + "'")
        .expected("numbers from 0 to 255 with commas between them, and ranges: 1,4 or 0-3");
  }
  return static_cast<int>(*number);
}

/// A program that runs another one and passes its exit code on.
struct Wrapper {
  std::string_view name;
  std::string_view with_value;       ///< its short options that take a value
  std::string_view long_with_value;  ///< its long ones, blanks between them
  int operands = 0;                  ///< that come before the command
  bool sets_variables = false;       ///< NAME=VALUE come before the command
};

constexpr std::array kWrappers{
    Wrapper{"env", "uCS", "unset chdir split-string", 0, true},
    Wrapper{"nice", "n", "adjustment"},
    Wrapper{"timeout", "ks", "kill-after signal", 1},
    Wrapper{"ionice", "cnp", "class classdata"},
    Wrapper{"nohup", "", ""},
    Wrapper{"setsid", "", ""},
    Wrapper{"stdbuf", "ioe", "input output error"},
    Wrapper{"chrt", "TPD", "sched-runtime sched-period sched-deadline", 1},
    Wrapper{"taskset", "", "", 1},
    Wrapper{"time", "fo", "format output"},
    Wrapper{"unbuffer", "", ""},
};

std::string base_name(const std::string& word) {
  return word.substr(word.rfind('/') + 1);
}

bool is_one_of(std::string_view blank_separated, std::string_view name) {
  while (!blank_separated.empty()) {
    const std::size_t end = std::min(blank_separated.find(' '), blank_separated.size());
    if (blank_separated.substr(0, end) == name) return true;
    blank_separated.remove_prefix(std::min(end + 1, blank_separated.size()));
  }
  return false;
}

/// Whether the value of an option stands in the next word.
bool takes_next(const Wrapper& wrapper, const std::string& option) {
  if (option.starts_with("--")) {
    return is_one_of(wrapper.long_with_value, std::string_view(option).substr(2));
  }
  // "-n5" has its value with it, "-vn" takes the next word.
  const std::size_t at = option.find_first_of(wrapper.with_value, 1);
  return at != std::string::npos && at + 1 == option.size();
}

/// Where the command of a wrapper begins, which stands at `at` itself.
std::size_t behind(const Wrapper& wrapper, const std::vector<std::string>& words, std::size_t at) {
  int operands = wrapper.operands;
  bool options = true;
  for (++at; at < words.size(); ++at) {
    const std::string& word = words[at];
    if (options && word == "--") {
      options = false;
    } else if (options && word.size() > 1 && word[0] == '-') {
      if (takes_next(wrapper, word)) ++at;
    } else {
      const bool variable = wrapper.sets_variables && word.find('=') != std::string::npos;
      if (!variable && operands-- <= 0) break;
      options = false;
    }
  }
  return at;
}

}  // namespace

std::set<int> parse_codes(const std::string& text) {
  std::set<int> codes;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const std::size_t dash = part.find('-');
    const int first = parse_code(part.substr(0, dash), text);
    const int last = dash == std::string::npos ? first : parse_code(part.substr(dash + 1), text);
    if (last < first) parse_code(part, text);
    for (int code = first; code <= last; ++code) codes.insert(code);
    begin = end + 1;
  }
  return codes;
}

std::string program_of(const std::vector<std::string>& words) {
  std::size_t at = 0;
  while (at < words.size()) {
    std::string name = base_name(words[at]);
    const auto wrapper =
        std::find_if(kWrappers.begin(), kWrappers.end(),
                     [&](const Wrapper& candidate) { return candidate.name == name; });
    if (wrapper == kWrappers.end()) return name;
    at = behind(*wrapper, words, at);
  }
  return "";
}

bool is_success(const std::vector<std::string>& words, int code, const std::set<int>& others) {
  if (code == 0 || others.contains(code)) return true;
  return code == 1 && program_of(words).find("fsck") != std::string::npos;
}

}  // namespace peelfs::cli
