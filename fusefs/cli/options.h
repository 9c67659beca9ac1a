// Which options each verb takes, and where their values go.
#pragma once

#include <vector>

#include "cli/command.h"
#include "cli/parser.h"

namespace peelfs::cli {

/// What --help and --version ask for, whatever else is said.
struct Asked {
  bool help = false;
  bool version = false;
};

/// Binds every option of `command.verb`. All three must outlive the run of the parser.
void bind_options(Parser& parser, Command& command, Asked& asked);

/// The names of a verb's options.
std::vector<Parser::Name> options_of(Verb verb);

}  // namespace peelfs::cli
