// Passphrases for what is locked, asked for on the terminal before anything is done.
#pragma once

#include <string>

#include "peel/peeling.h"

namespace peelfs::cli {

/// Asks for the passphrase of every locked device, three times each; an empty line leaves one
/// locked. What opened one device is tried on all others before anything else is asked. Without a
/// terminal, or with nothing locked, it does nothing.
/// @param wanted the one device that matters, as a person names it: only what it may lie in, or
///   what may complete it, is asked for, and only until it is there; empty: all devices matter
void ask_for_locked(Peeling& peeling, const std::string& wanted);

}  // namespace peelfs::cli
