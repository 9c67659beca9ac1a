#include "cli/verbs.h"

#include <algorithm>
#include <array>

#include "cli/arguments.h"
#include "cli/options.h"

namespace peelfs::cli {
namespace {

struct VerbWord {
  std::string_view word;
  Verb verb;
};
constexpr std::array kVerbs{VerbWord{"mount", Verb::mount},
                            VerbWord{"ls", Verb::ls},
                            VerbWord{"cat", Verb::cat},
                            VerbWord{"export", Verb::export_},
                            VerbWord{"map", Verb::map},
                            VerbWord{"umount", Verb::umount},
                            VerbWord{"unlock", Verb::unlock},
                            VerbWord{"diff", Verb::diff},
                            VerbWord{"commit", Verb::commit},
                            VerbWord{"drop", Verb::drop},
                            VerbWord{"checkpoint", Verb::checkpoint},
                            VerbWord{"revert", Verb::revert},
                            VerbWord{"try", Verb::try_},
                            VerbWord{"help", Verb::help}};

/// Whether the argument behind this one is its value. Which verb it belongs to is not known yet, so
/// that no option may have a value with one verb and none with another.
bool takes_next(std::string_view option) {
  if (!option.starts_with("--")) return option.find('o') == option.size() - 1;  // -o, -fo
  return std::any_of(kVerbs.begin(), kVerbs.end(), [&](const VerbWord& entry) {
    const auto options = options_of(entry.verb);
    return std::any_of(options.begin(), options.end(), [&](const Parser::Name& known) {
      return known.name == option && known.with_value;
    });
  });
}

}  // namespace

std::optional<Verb> find_verb(std::string_view word) {
  const auto* found = std::find_if(kVerbs.begin(), kVerbs.end(),
                                   [&](const VerbWord& entry) { return entry.word == word; });
  if (found == kVerbs.end()) return std::nullopt;
  return found->verb;
}

std::vector<std::string_view> verb_words() {
  std::vector<std::string_view> words;
  for (const VerbWord& entry : kVerbs) words.push_back(entry.word);
  return words;
}

std::string_view verb_name(Verb verb) noexcept {
  for (const VerbWord& entry : kVerbs) {
    if (entry.verb == verb) return entry.word;
  }
  return "version";
}

std::optional<std::size_t> verb_position(const std::vector<std::string>& arguments) {
  std::size_t at = 0;
  while (at < arguments.size() && arguments[at].size() > 1 && arguments[at][0] == '-') {
    if (arguments[at] == "--") return std::nullopt;
    at += takes_next(arguments[at]) ? 2 : 1;
  }
  if (at >= arguments.size() || !find_verb(arguments[at])) return std::nullopt;
  return at;
}

Verb verb_of(const std::vector<std::string>& arguments) {
  const auto at = verb_position(arguments);
  return at ? *find_verb(arguments[*at]) : Verb::mount;
}

}  // namespace peelfs::cli
