// The words for the verbs, and where on a command line the verb stands.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace peelfs::cli {

/// @return nullopt: no verb is called so
std::optional<Verb> find_verb(std::string_view word);

/// Every word, in the order of the help.
std::vector<std::string_view> verb_words();

/// Where the verb stands: it is the first argument that is no option. nullopt: that one is no verb,
/// or stands behind `--`, so mount is meant.
std::optional<std::size_t> verb_position(const std::vector<std::string>& arguments);

}  // namespace peelfs::cli
