// One run over the words of a command line: options in any order, and what is left, the operands.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "peelfs/error.h"

namespace peelfs::cli {

/// Options are bound first; then run() takes the words apart and acts on what was bound.
class Parser {
 public:
  struct Name {
    std::string name;  ///< "--json", "-J"
    bool with_value = false;
  };

  /// @param program for messages
  explicit Parser(std::string program) : program_(std::move(program)) {}

  /// @param names with commas between them: "--json,-J"
  void flag(const std::string& names, bool& target);
  /// A flag that something is done for.
  void action(const std::string& names, std::function<void()> act);
  /// An option with a value that may be given again and again; `take` is called for each, in order.
  void option(const std::string& names, std::function<void(const std::string&)> take);

  /// What stands behind the first `--` is no operand: those words go here as they are.
  void behind_dashes(std::vector<std::string>& target);

  /// @return the operands
  /// @throws Error(Fault::usage) for what is not bound, naming what was probably meant; whatever
  /// `take` and `act` throw
  std::vector<std::string> run(std::vector<std::string> words);

  /// Every name that is bound, in the order of binding.
  std::vector<Name> names() const;

 private:
  struct Bound {
    std::string names;
    bool* flag = nullptr;
    std::function<void(const std::string&)> take;
    std::function<void()> act;
  };
  /// @throws Error(Fault::usage) for "--flag=value": a flag must not mean the opposite of its value
  void refuse_value_of_flag(const std::string& word) const;
  Error unknown(const std::vector<std::string>& extras) const;
  /// @param said by CLI11 of an option that has no value, though it takes one
  Error without_value(const std::string& said) const;

  const std::string program_;
  std::vector<Bound> bound_;
  std::vector<std::string>* behind_dashes_ = nullptr;
};

}  // namespace peelfs::cli
