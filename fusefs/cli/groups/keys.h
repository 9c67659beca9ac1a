// The options that say where keys are: --key-file, --key, --volume-key, --no-prompt.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/parser.h"
#include "peelfs/keys.h"

namespace peelfs::cli {

/// One --key, --key-file or --volume-key: where a secret is to be read. Never the secret.
struct KeyOrigin {
  enum class Kind { file, descriptor, environment };
  std::string whose;  ///< name or UUID of a device; empty: tried on every locked device
  Kind kind = Kind::file;
  std::string place;               ///< path ("-": standard input), or name of the variable
  int descriptor = 0;              ///< of Kind::descriptor
  KeyKind is = KeyKind::key_file;  ///< what sort of key the secret is
};

struct KeyOptions {
  std::vector<KeyOrigin> origins;
  bool prompt = true;  ///< what stays locked may be asked for on the terminal
};

void bind_keys(Parser& parser, KeyOptions& options);

/// Takes one of these options, from the command line or from -o.
/// @param name without dashes @return false when it is none of them
/// @throws Error(Fault::usage) for a value that makes no sense
bool set_key_option(KeyOptions& options, std::string_view name, std::string_view value);

}  // namespace peelfs::cli
