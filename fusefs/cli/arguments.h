// The command line: which verb it names, and what it says to it. Only the form is looked at here;
// nothing is opened.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/verb.h"

namespace peelfs::cli {

/// A command line, taken apart.
struct Call {
  const VerbRow* verb = nullptr;
  std::unique_ptr<VerbOptions> options;  ///< of the verb's own type

  int run() const { return verb->actions.run(*options); }
};

/// @param arguments without argv[0]
/// @throws Error(Fault::usage) that says what is wrong and what was probably meant
Call parse_arguments(const std::vector<std::string>& arguments);

/// The verb that these arguments speak of, as far as that can be told: an error has the exit code
/// of its verb, and its hint names the verb's help.
const VerbRow& verb_of(const std::vector<std::string>& arguments);

/// The names of a verb's options.
std::vector<Parser::Name> options_of(const VerbRow& verb);

}  // namespace peelfs::cli
