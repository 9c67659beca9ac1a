// The options of this command line as words of the next one, which a person can paste.
#pragma once

#include <string>
#include <vector>

#include "cli/groups/sources.h"
#include "host/source.h"

namespace peelfs::cli {

/// A source as an argument that parse_source() takes for the same.
std::string source_word(const SourceSpec& spec);

/// --as, --allow-reference and the sources: for a verb that opens these only.
std::vector<std::string> source_words(const SourceOptions& from);

/// All options for sources and keys, and the sources: for a verb that looks into them. Without keys
/// from standard input or a descriptor, which the next command cannot read again.
std::vector<std::string> look_words(const SourceOptions& from);

}  // namespace peelfs::cli
