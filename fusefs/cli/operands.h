// What the words that are no options stand for: sources, a device, a directory, a command.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace peelfs::cli {

/// Takes away everything behind the first `--` of `try`: those words are its command's own.
void split_command_line(Command& command, std::vector<std::string>& words);

/// Puts the operands where `command.verb` wants them.
/// @throws Error(Fault::usage) that says what is missing, or too much
void take_operands(Command& command, std::vector<std::string> operands);

/// @param before what follows the sources on the command line, for the message; may be empty
void take_sources(Command& command, std::vector<std::string> operands, const std::string& before);

}  // namespace peelfs::cli
