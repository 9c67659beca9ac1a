#include "cli/next_command.h"

namespace peelfs::cli {
namespace {

/// Whether what an option says can be had a second time.
bool is_lasting(const std::string& name, const std::string& value) {
  KeyOptions keys;
  if (!set_key_option(keys, name, value) || keys.origins.empty()) return true;
  const KeyOrigin& origin = keys.origins.front();
  return origin.kind != KeyOrigin::Kind::descriptor && origin.place != "-";
}

void add_sources(const SourceOptions& from, std::vector<std::string>& words) {
  for (const std::string& source : from.sources) {
    words.push_back((source.starts_with('-') ? "./" : "") + source);
  }
}

}  // namespace

std::string source_word(const SourceSpec& spec) {
  const bool is_plain =
      spec.path.starts_with('/') || spec.path.starts_with("./") ||
      (spec.name.empty() && !spec.raw && spec.path.find_first_of("=:") == std::string::npos &&
       !spec.path.starts_with('-'));
  return (spec.name.empty() ? "" : spec.name + "=") + (spec.raw ? "raw:" : "") +
         (is_plain ? "" : "./") + spec.path;
}

std::vector<std::string> source_words(const SourceOptions& from) {
  std::vector<std::string> words;
  for (const auto& [name, value] : from.said) {
    if (name != "as" && name != "allow-reference") continue;
    words.insert(words.end(), {"--" + name, value});
  }
  add_sources(from, words);
  return words;
}

std::vector<std::string> look_words(const SourceOptions& from) {
  std::vector<std::string> words;
  for (const auto& [name, value] : from.said) {
    if (!is_lasting(name, value)) continue;
    words.push_back("--" + name);
    if (!value.empty()) words.push_back(value);
  }
  add_sources(from, words);
  return words;
}

}  // namespace peelfs::cli
