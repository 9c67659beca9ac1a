// The one translation unit that compiles CLI11, which is slow to build.
#include "cli/parser.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "cli/values.h"

namespace peelfs::cli {
namespace {

/// CLI11 takes apart what looks like "[a,b]", and stops at "++". Such arguments are never options
/// here, so they travel through it behind a mark that no argument begins with otherwise.
constexpr char kMark = '\x01';

std::string shielded(const std::string& argument) {
  const bool special = !argument.empty() && (argument.front() == '[' || argument.front() == kMark);
  return special || argument == "++" ? kMark + argument : argument;
}

std::string unshielded(const std::string& argument) {
  return !argument.empty() && argument.front() == kMark ? argument.substr(1) : argument;
}

/// Names are told apart here, since those that CLI11 has are its own.
std::vector<std::string> split_names(const std::string& names) {
  return CLI::detail::split(names, ',');
}

}  // namespace

void Parser::flag(const std::string& names, bool& target) {
  bound_.push_back({names, &target, {}, {}});
}

void Parser::action(const std::string& names, std::function<void()> act) {
  bound_.push_back({names, nullptr, {}, std::move(act)});
}

void Parser::option(const std::string& names, std::function<void(const std::string&)> take) {
  bound_.push_back({names, nullptr, std::move(take), {}});
}

void Parser::behind_dashes(std::vector<std::string>& target) {
  behind_dashes_ = &target;
}

std::vector<std::string> Parser::run(std::vector<std::string> words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  if (behind_dashes_ != nullptr && dashes != words.end()) {
    behind_dashes_->assign(dashes + 1, words.end());
    words.erase(dashes, words.end());
  }
  CLI::App app("", program_);
  app.set_help_flag();
  app.allow_extras(false);
  std::vector<std::string> unused;
  const CLI::Option* operands = app.add_option("operands", unused);
  std::vector<const CLI::Option*> added;
  for (const Bound& bound : bound_) {
    if (bound.flag != nullptr) {
      added.push_back(app.add_flag(bound.names, *bound.flag));
    } else if (bound.act) {
      added.push_back(app.add_flag(bound.names));
    } else {
      added.push_back(app.add_option(bound.names, unused)->allow_extra_args(false));
    }
  }

  std::vector<std::string> reversed;
  bool operands_only = false;
  for (const std::string& word : words) {
    operands_only = operands_only || word == "--";
    if (!operands_only && word.starts_with("--") && word.ends_with('=')) {
      throw usage("option '" + printable(word.substr(0, word.size() - 1)) + "' needs a value");
    }
    if (!operands_only) refuse_value_of_flag(word);
    reversed.push_back(shielded(word));
  }
  std::reverse(reversed.begin(), reversed.end());  // CLI11 pops them off the end
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::ExtrasError&) {
    throw unknown(app.remaining());
  } catch (const CLI::ArgumentMismatch& error) {
    throw without_value(error.what());
  } catch (const CLI::ParseError& error) {
    throw usage(printable(error.what()));
  }

  for (std::size_t i = 0; i < bound_.size(); ++i) {
    if (!bound_[i].take) continue;
    for (const std::string& value : added[i]->results()) bound_[i].take(unshielded(value));
  }
  for (std::size_t i = 0; i < bound_.size(); ++i) {
    if (bound_[i].act && added[i]->count() != 0) bound_[i].act();
  }
  std::vector<std::string> result;
  for (const std::string& operand : operands->results()) result.push_back(unshielded(operand));
  return result;
}

void Parser::refuse_value_of_flag(const std::string& word) const {
  const auto equals = word.find('=');
  if (!word.starts_with("--") || equals == std::string::npos) return;
  const std::string name = word.substr(0, equals);
  for (const Name& one : names()) {
    if (one.name != name || one.with_value) continue;
    // "--commit=no" must not commit.
    throw usage("option '" + printable(name) + "' takes no value")
        .found("'" + printable(word) + "'")
        .advice("write " + printable(name) + ", or leave it out");
  }
}

std::vector<Parser::Name> Parser::names() const {
  std::vector<Name> all;
  for (const Bound& bound : bound_) {
    for (const std::string& name : split_names(bound.names)) {
      all.push_back({name, static_cast<bool>(bound.take)});
    }
  }
  return all;
}

Error Parser::without_value(const std::string& said) const {
  // CLI11 says the name first: "--depth: 1 required TEXT missing".
  const std::string name = said.substr(0, said.find(':'));
  const std::vector<Name> known = names();
  const bool ours = std::ranges::any_of(
      known, [&](const Name& one) { return one.name == name && one.with_value; });
  if (!ours) return usage(printable(said));
  const std::string verb = program_.empty() || program_ == "mount" ? "" : program_ + " ";
  return usage("option '" + name + "' needs a value")
      .found("nothing behind it")
      .advice("'peelfs " + verb + "--help' says what it takes");
}

Error Parser::unknown(const std::vector<std::string>& extras) const {
  const std::string word = extras.empty() ? "" : unshielded(extras.front());
  const std::vector<Name> known = names();
  std::vector<std::string_view> views;
  views.reserve(known.size());
  for (const Name& one : known) views.push_back(one.name);
  const std::string bare = word.substr(0, word.find('='));
  const std::string_view meant = bare.starts_with("--") ? closest(bare, views) : "";
  auto error = usage("unknown option '" + printable(bare) + "'");
  if (meant.empty()) {
    return std::move(error).advice(
        "for a file of that name, write ./ before it, or put it behind --");
  }
  return std::move(error).advice("did you mean '" + std::string(meant) + "'?");
}

}  // namespace peelfs::cli
