// The manual, --help and the completion name the options that the parser takes: these tests keep
// the four lists equal.
#include <gtest/gtest.h>

#include <regex>
#include <set>

#include "cli/arguments.h"
#include "cli/program.h"
#include "cli/verb_table.h"
#include "cli/verbs/mount.h"
#include "peelfs/error.h"
#include "support/paths.h"

namespace peelfs::test {
namespace {

using Set = std::set<std::string>;
using cli::VerbRow;

const std::string kManual = source_folder() + "/contrib/peelfs.1";
const std::string kCompletion = source_folder() + "/contrib/completion/peelfs.bash";

/// The long options in a text.
Set options_in(const std::string& text) {
  static const std::regex option("(^|[^a-z-])(--[a-z][a-z-]*[a-z])");
  Set found;
  for (std::sregex_iterator at(text.begin(), text.end(), option), end; at != end; ++at) {
    found.insert((*at)[2]);
  }
  return found;
}

Set parsed_options(const VerbRow& verb) {
  Set found;
  for (const auto& option : cli::options_of(verb)) {
    if (option.name.starts_with("--")) found.insert(option.name);
  }
  return found;
}

Set without(Set from, const Set& what) {
  for (const std::string& one : what) from.erase(one);
  return from;
}

std::string joined(const Set& words) {
  std::string text;
  for (const std::string& word : words) text += word + " ";
  return text;
}

/// Shown by the help of the program.
const Set kGeneral{"--help", "--version", "--verbose", "--quiet"};

/// What the help of one verb says of others and of other programs.
Set spoken_of(const VerbRow& verb) {
  return verb.word == "try" ? Set{"--repair"} : Set{};
}

TEST(Documents, HelpShowsTheOptionsThatTheParserTakes) {
  for (const std::string_view word : cli::verb_words()) {
    const VerbRow& verb = *cli::find_verb(word);
    if (verb.word == "help") continue;
    const Set shown = options_in(cli::help_text(verb));
    const Set taken = parsed_options(verb);
    EXPECT_EQ(joined(without(without(taken, kGeneral), shown)), "")
        << "taken by " << word << ", and not in its help";
    EXPECT_EQ(joined(without(without(shown, taken), spoken_of(verb))), "")
        << "in the help of " << word << ", and not taken";
  }
}

TEST(Documents, ProgramHelpNamesEveryVerb) {
  const std::string text = cli::program_help();
  for (const std::string_view word : cli::verb_words()) {
    if (word == "help") continue;
    EXPECT_NE(text.find(word), std::string::npos) << word;
  }
  const Set shown = options_in(text);
  const Set elsewhere{"--overlay", "--rw"};
  EXPECT_EQ(joined(without(without(shown, kGeneral), elsewhere)), "");
}

TEST(Documents, TheManualHasEveryOption) {
  const Buffer bytes = read_file(kManual);
  std::string text(as_text(bytes));
  // What roff makes of it: \- is a dash, \~ a blank, \fX a change of the font.
  text = std::regex_replace(text, std::regex(R"(\\-)"), "-");
  text = std::regex_replace(text, std::regex(R"(\\(f.|~|&))"), " ");
  const Set described = options_in(text);
  Set taken;
  for (const std::string_view word : cli::verb_words()) {
    taken.merge(parsed_options(*cli::find_verb(word)));
  }
  EXPECT_EQ(joined(without(taken, described)), "") << "not in the manual";
  EXPECT_EQ(joined(without(without(described, taken),
                           {"--dump-volume-key", "--volume-key-file", "--now", "--failed"})),
            "")
      << "in the manual, and not taken";
}

/// Words that completion offers behind `line`. @param line words, the last of them incomplete
Set completed(const std::string& line) {
  const CommandResult result =
      run("bash -c '. " + std::string(kCompletion) + "; COMP_WORDS=(" + line +
          "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _peelfs; printf \"%s\\n\" "
          "\"${COMPREPLY[@]}\"' </dev/null 2>&1");
  Set words;
  std::string word;
  for (const char c : result.output) {
    if (c != '\n') {
      word += c;
      continue;
    }
    words.insert(word);
    word.clear();
  }
  return words;
}

TEST(Documents, CompletionOffersTheOptionsThatTheParserTakes) {
  SKIP_WITHOUT("bash");
  for (const std::string_view word : cli::verb_words()) {
    const VerbRow& verb = *cli::find_verb(word);
    Set offered = completed("peelfs " + std::string(word) + " --");
    EXPECT_EQ(joined(offered), joined(parsed_options(verb))) << word;
  }
  EXPECT_EQ(joined(completed("peelfs --")), joined(parsed_options(*cli::find_verb("mount"))));
}

TEST(Documents, CompletionKnowsTheVerbsAndMountOptions) {
  SKIP_WITHOUT("bash");
  Set verbs;
  for (const std::string_view word : cli::verb_words()) verbs.emplace(word);
  EXPECT_EQ(joined(completed("peelfs help \"\"")), joined(verbs));
  const Set offered = completed("peelfs -o \"\"");
  EXPECT_GT(offered.size(), 20U);
  for (const std::string& name : offered) {
    const bool with_value = name.ends_with('=');
    const std::string value = name == "key=" || name == "volume-key=" ? "env:X"
                              : name == "header="                     ? "a=b"
                              : name == "as="                         ? "a=raw"
                                                                      : "1";
    cli::MountVerbOptions options;
    EXPECT_NO_THROW(cli::set_mount_options(options, name + (with_value ? value : ""), false))
        << name;
  }
}

}  // namespace
}  // namespace peelfs::test
