// What each option and operand may be by itself, but not together.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace peelfs::cli {

/// Looks at a command line that is taken apart, before anything is opened.
/// @throws Error(Fault::usage)
void check_combinations(const Command& command);

/// What fits no mount but looks like a verb with a slip of the finger.
/// @throws Error(Fault::usage) that names the verb
void check_misspelt_verb(const std::vector<std::string>& arguments, const Command& command);

}  // namespace peelfs::cli
