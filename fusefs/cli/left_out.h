// What `peelfs ls DIR` says of the entries of DIR that it does not take for disk images.
#pragma once

#include <string>
#include <vector>

#include "host/source.h"

namespace peelfs::cli {

/// @param verbose one line for each; otherwise one for each directory, with numbers
std::vector<std::string> left_out_lines(const std::vector<LeftOutEntry>& entries, bool verbose);

}  // namespace peelfs::cli
