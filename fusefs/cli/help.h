// The texts of --help.
#pragma once

#include <string>

#include "cli/command.h"

namespace peelfs::cli {

/// @param verb Verb::help: of the program as a whole
std::string help_text(Verb verb);

}  // namespace peelfs::cli
