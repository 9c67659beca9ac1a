// What a command line asks for and what fits nothing that was found.
#pragma once

#include "cli/command.h"
#include "peel/peeling.h"

namespace peelfs::cli {

/// Adds to what is unmet: keys that open nothing, and names in --key and -o writable= that no
/// device has. Call it when all keys have been tried and all passphrases asked for.
void find_unmet(const Command& command, Peeling& peeling);

/// @return an exit code that is not 0 if anything is unmet or a source is missing
int code_for(const Peeling& peeling, int code);

}  // namespace peelfs::cli
