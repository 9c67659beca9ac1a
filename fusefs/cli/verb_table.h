// The verbs that there are.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/verb.h"

namespace peelfs::cli {

/// Every verb, in the order in which the program's help shows them.
std::span<const VerbRow* const> all_verbs();

/// @return nullptr: no verb is called so
const VerbRow* find_verb(std::string_view word);

/// The verb that is meant where none is named.
const VerbRow& default_verb();

/// What --version and --help do instead of the verb that they stand with.
const VerbRow& version_verb();
const VerbRow& help_verb();

std::vector<std::string_view> verb_words();

/// The text of `peelfs --help`, made of the lines of all verbs.
std::string program_help();

/// The text of `peelfs VERB --help`.
std::string help_text(const VerbRow& verb);

}  // namespace peelfs::cli
