// Sources that are one file under two names.
#pragma once

#include <vector>

#include "host/source.h"

namespace peelfs::cli {

/// Refuses a file that is named twice, where that is no mere repetition: it would be locked twice.
/// @throws Error(Fault::usage)
void refuse_twice(const std::vector<SourceSpec>& sources);

}  // namespace peelfs::cli
