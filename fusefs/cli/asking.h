// Passphrases for what is locked, asked for on the terminal before anything is done.
#pragma once

#include "peeling.h"

namespace peelfs::cli {

/// Asks for the passphrase of every locked device, three times each; an empty line leaves one
/// locked. What opened one device is tried on all others before anything else is asked. Without a
/// terminal, or with nothing locked, it does nothing.
void ask_for_locked(Peeling& peeling);

}  // namespace peelfs::cli
