// The examples of README.md, of the manual and of the help texts: what a person copies must be
// understood.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "cli/arguments.h"
#include "cli/program.h"
#include "cli/verb_table.h"
#include "peelfs/error.h"

namespace peelfs::test {
namespace {

struct Example {
  std::string where, line;
};

void add(const std::string& where, const std::string& line, std::vector<Example>& examples) {
  // What stands behind a pipe, redirections ("3<file") and comments are not ours.
  const std::size_t end = line.find_first_of("|;&<>#");
  std::string command = line.substr(0, end);
  if (end != std::string::npos && line[end] == '<') {
    command.erase(command.find_last_not_of("0123456789") + 1);
  }
  examples.push_back({where, command.substr(0, command.find_last_not_of(' ') + 1)});
}

/// Lines of README.md that begin like what is typed.
void add_readme(std::vector<Example>& examples) {
  std::ifstream file(PEELFS_SOURCE_DIR "/README.md");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("    $ peelfs ")) add("README.md", line.substr(6), examples);
  }
}

/// Lines of the manual between .nf and .fi, and in the section of examples.
void add_manual(std::vector<Example>& examples) {
  std::ifstream file(PEELFS_SOURCE_DIR "/contrib/peelfs.1");
  bool is_example = false;
  for (std::string line; std::getline(file, line);) {
    if (line == ".nf" || line == ".EX") is_example = true;
    if (line == ".fi" || line == ".EE") is_example = false;
    for (std::size_t at = 0; (at = line.find('\\', at)) != std::string::npos;) line.erase(at, 1);
    if (line.starts_with("$ ")) line.erase(0, 2);
    if (is_example && line.starts_with("peelfs ")) add("peelfs.1", line, examples);
  }
}

void add_helps(std::vector<Example>& examples) {
  for (const std::string_view word : cli::verb_words()) {
    std::string text;
    for (const char* const piece : cli::find_verb(word)->help) text += piece;
    const std::size_t at = text.find("\nExamples:\n");
    if (at == std::string::npos) continue;
    std::istringstream lines(text.substr(at + 11));
    for (std::string line; std::getline(lines, line) && line.starts_with("  ");) {
      if (line.starts_with("  peelfs "))
        add("peelfs help " + std::string(word), line.substr(2), examples);
    }
  }
}

/// As a shell takes it apart.
std::vector<std::string> words_of(const std::string& line) {
  std::istringstream lines(
      run("set -f; set -- " + line + "; for word do printf '%s\\n' \"$word\"; done").output);
  std::vector<std::string> words;
  for (std::string word; std::getline(lines, word);) words.push_back(word);
  if (!words.empty()) words.erase(words.begin());
  return words;
}

TEST(Examples, AreUnderstood) {
  std::vector<Example> examples;
  add_readme(examples);
  EXPECT_GE(examples.size(), 8U);
  add_manual(examples);
  EXPECT_GE(examples.size(), 20U);
  add_helps(examples);
  EXPECT_GE(examples.size(), 40U);
  for (const Example& example : examples) {
    try {
      const cli::Call call = cli::parse_arguments(words_of(example.line));
      EXPECT_NE(call.verb, nullptr) << example.line;
    } catch (const Error& error) {
      ADD_FAILURE() << example.where << ": " << example.line << "\n" << error.what();
    }
  }
}

}  // namespace
}  // namespace peelfs::test
