// The texts of --help.
#pragma once

#include <string>

#include "cli/command.h"

namespace peelfs::cli {

/// @param verb Verb::help: of the program as a whole
std::string help_text(Verb verb);

/// Of the verbs that are about overlays: diff, commit, drop, checkpoint, revert, try. Not the
/// options for sources.
const char* overlay_help(Verb verb);

}  // namespace peelfs::cli
