// What a command line asks for and what fits nothing that was found.
#pragma once

#include <string>
#include <vector>

#include "cli/groups/keys.h"
#include "peel/peeling.h"

namespace peelfs::cli {

/// Adds to what is unmet: keys that open nothing, and names in --key that no device has. Call it
/// when all keys have been tried and all passphrases asked for.
/// @param keys in the order in which the key ring has them
void find_unmet_keys(const std::vector<KeyOrigin>& keys, Peeling& peeling);

/// "; it may lie within a, which is locked": for what says that there is no such device.
std::string locked_hint(const Peeling& peeling);

/// @return an exit code that is not 0 if anything is unmet or a source is missing
int code_for(const Peeling& peeling, int code);

}  // namespace peelfs::cli
