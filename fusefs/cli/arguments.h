// The command line: verbs, options, operands. Only the form is looked at here; nothing is opened.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace peelfs::cli {

/// @param arguments without argv[0]
/// @throws Error(Fault::usage) that says what is wrong and what was probably meant
Command parse_arguments(const std::vector<std::string>& arguments);

/// The verb that these arguments speak of, as far as that can be told: an error has the exit code
/// of its verb, and its hint names the verb's help.
Verb verb_of(const std::vector<std::string>& arguments);

/// The command line with which mount(8) calls its helpers:
/// `mount.fuse.peelfs SPEC DIRECTORY [-sfnv] [-N namespace] [-o options] [-t type]`.
/// SPEC holds one source, or several with `|` between them (`||` is a `|` within a name).
Command parse_helper_arguments(const std::vector<std::string>& arguments);

/// The sources in one word, as fstab and `mount` show them: "a|b||c" stands for "a" and "b|c".
std::vector<std::string> split_spec(std::string_view spec);

/// Takes one of the options that all verbs with sources share.
/// @param name without dashes: "key-file", "key", "header", "allow-reference", "depth",
/// "no-search",
///   "no-prompt", "kdf-memory", "kdf-iterations", "kdf-seconds", "run-files", "identify-bytes",
///   "overlay", "overlay-temp", "accept-source", "accept-shared"
/// @return false when it is none of these
/// @throws Error(Fault::usage) for a value that makes no sense
bool set_source_option(SourceOptions& options, std::string_view name, std::string_view value);

/// Takes the argument of `-o`: options with commas between them (`\,` is a comma within a value).
/// @param from_helper true: mount(8) adds `rw` to whatever fstab says, so it means nothing
/// @throws Error(Fault::usage) for an option that is not known, by name, with what was probably
/// meant
void set_mount_options(Command& command, std::string_view text, bool from_helper);

}  // namespace peelfs::cli
