// The command line as a whole. Which verb is meant is decided here and not by CLI11, because a verb
// may be left out and a source may be named like one.
#include "cli/arguments.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include "cli/values.h"
#include "cli/verb_table.h"
#include "cli/verbs/help.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

/// What --help and --version ask for, whatever else is said.
struct Asked {
  bool help = false;
  bool version = false;
};

Call call_of(const VerbRow& verb) {
  return {&verb, verb.actions.make()};
}

/// Both must outlive the run of the parser.
void bind_options(Parser& parser, const Call& call, Asked& asked) {
  parser.flag("-h,--help", asked.help);
  parser.flag("-V,--version", asked.version);
  parser.flag("-v,--verbose", call.options->verbose);
  parser.flag("-q,--quiet", call.options->quiet);
  call.verb->actions.bind(parser, *call.options);
}

/// Whether the argument behind this one is its value. Which verb it belongs to is not known yet, so
/// that no option may have a value with one verb and none with another.
bool takes_next(std::string_view option) {
  if (!option.starts_with("--")) return option.find('o') == option.size() - 1;  // -o, -fo
  const auto verbs = all_verbs();
  return std::any_of(verbs.begin(), verbs.end(), [&](const VerbRow* verb) {
    const auto options = options_of(*verb);
    return std::any_of(options.begin(), options.end(), [&](const Parser::Name& known) {
      return known.name == option && known.with_value;
    });
  });
}

/// Where the verb stands: it is the first argument that is no option. nullopt: that one is no verb,
/// or stands behind `--`, so mount is meant.
std::optional<std::size_t> verb_position(const std::vector<std::string>& arguments) {
  std::size_t at = 0;
  while (at < arguments.size() && arguments[at].size() > 1 && arguments[at][0] == '-') {
    if (arguments[at] == "--") return std::nullopt;
    at += takes_next(arguments[at]) ? 2 : 1;
  }
  if (at >= arguments.size() || find_verb(arguments[at]) == nullptr) return std::nullopt;
  return at;
}

const VerbRow& verb_at(const std::vector<std::string>& arguments, std::optional<std::size_t> at) {
  return at ? *find_verb(arguments[*at]) : default_verb();
}

/// What other programs call what a verb does.
struct Synonym {
  std::string_view word, verb;
};
constexpr std::array kSynonyms{
    Synonym{"list", "ls"},
    Synonym{"info", "ls"},
    Synonym{"show", "ls"},
    Synonym{"tree", "ls"},
    Synonym{"lsblk", "ls"},
    Synonym{"status", "ls"},
    Synonym{"check", "fsck"},
    Synonym{"verify", "fsck"},
    Synonym{"unmount", "umount"},
    Synonym{"close", "umount"},
    Synonym{"open", "unlock"},
    Synonym{"extract", "export"},
    Synonym{"copy", "export"},
    Synonym{"convert", "export"},
    Synonym{"read", "cat"},
    Synonym{"apply", "commit"},
    Synonym{"merge", "commit"},
    Synonym{"discard", "drop"},
    Synonym{"snapshot", "checkpoint"},
    Synonym{"rollback", "revert"},
    Synonym{"repair", "try"},
};

std::string_view verb_meant(const std::string& word) {
  const auto* const synonym = std::ranges::find(kSynonyms, word, &Synonym::word);
  return synonym != kSynonyms.end() ? synonym->verb : closest(word, verb_words());
}

/// The first operand of a mount that begins the command line, and is not there, was to be a verb.
/// @throws Error(Fault::usage) that names the verb that was probably meant, or all of them
void check_unknown_verb(const std::vector<std::string>& arguments, const std::string& operand) {
  if (arguments.empty() || operand != arguments.front()) return;
  if (operand.empty() || operand.find_first_of("./=:") != std::string::npos) return;
  if (::access(operand.c_str(), F_OK) == 0) return;
  auto error = usage("'" + printable(operand) + "' is neither a verb nor a file here");
  if (const std::string_view meant = verb_meant(operand); !meant.empty()) {
    throw std::move(error).advice("did you mean 'peelfs " + std::string(meant) + "'?");
  }
  std::string verbs;
  for (const std::string_view word : verb_words()) {
    verbs.append(verbs.empty() ? "" : ", ").append(word);
  }
  throw std::move(error)
      .expected("one of " + verbs + ", or a SOURCE to mount")
      .advice("'peelfs --help' says what they do");
}

/// What is missing, or too much, is told with the order of the operands: the first line of the
/// verb's help.
void take_operands(const Call& call, std::vector<std::string> operands) {
  try {
    call.verb->actions.take(*call.options, std::move(operands));
  } catch (Error& error) {
    if (error.fault() != Fault::usage || !error.advice_text().empty() || call.verb->help.empty()) {
      throw;
    }
    const std::string_view help = call.verb->help.front();
    throw std::move(error).advice("usage: " + std::string(help.substr(0, help.find('\n'))));
  }
}

}  // namespace

Call parse_arguments(const std::vector<std::string>& arguments) {
  const auto at = verb_position(arguments);
  Call call = call_of(verb_at(arguments, at));
  std::vector<std::string> words = arguments;
  if (at) words.erase(words.begin() + static_cast<std::ptrdiff_t>(*at));

  Asked asked;
  Parser parser{std::string(call.verb->word)};
  bind_options(parser, call, asked);
  std::vector<std::string> operands = parser.run(words);
  if (asked.version) return call_of(version_verb());
  if (asked.help) {
    auto options = std::make_unique<HelpOptions>();
    if (at) options->topic = call.verb;
    return {&help_verb(), std::move(options)};
  }
  if (arguments.empty()) throw usage("nothing to do").advice("'peelfs --help' shows how to begin");
  const std::string first = operands.empty() ? "" : operands.front();
  // Before the operands are counted: of a verb that is none their number says nothing.
  if (call.verb == &default_verb() && !operands.empty()) check_unknown_verb(arguments, first);
  take_operands(call, std::move(operands));
  call.verb->actions.check(*call.options);
  return call;
}

const VerbRow& verb_of(const std::vector<std::string>& arguments) {
  return verb_at(arguments, verb_position(arguments));
}

std::vector<Parser::Name> options_of(const VerbRow& verb) {
  const Call call = call_of(verb);
  Asked asked;
  Parser parser("");
  bind_options(parser, call, asked);
  return parser.names();
}

}  // namespace peelfs::cli
