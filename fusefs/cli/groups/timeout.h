// How long to wait for something: --timeout.
#pragma once

#include <chrono>

#include "cli/parser.h"

namespace peelfs::cli {

/// What is waited for each verb says in its own help.
void bind_timeout(Parser& parser, std::chrono::seconds& timeout);

}  // namespace peelfs::cli
