// What to open and how: sources, keys and limits, which all verbs share that open something.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/groups/keys.h"
#include "cli/parser.h"
#include "peelfs/layer.h"

namespace peelfs::cli {

struct SourceOptions {
  std::vector<std::string> sources;  ///< as parse_source() takes them
  KeyOptions keys;
  std::map<std::string, std::string> headers;
  std::vector<Directive> directives;  ///< of --as, each device once
  std::vector<std::string> allow_references;
  Limits limits;
  /// All options of these, and those for keys, as the person wrote them: name without dashes,
  /// value.
  std::vector<std::pair<std::string, std::string>> said;
};

void bind_sources(Parser& parser, SourceOptions& options);

/// --allow-reference alone, of a verb that needs no keys and searches nothing.
void bind_allow_reference(Parser& parser, std::vector<std::string>& paths);

/// --as alone, of a verb that only opens the sources themselves.
void bind_as(Parser& parser, std::vector<Directive>& directives);

/// Takes one of these options, or of those for keys, from the command line or from -o.
/// @param name without dashes @return false when it is none of them
/// @throws Error(Fault::usage) for a value that makes no sense
bool set_source_option(SourceOptions& options, std::string_view name, std::string_view value);

/// The text of these options. Those for overlays (overlay.h) stand between the two.
inline constexpr const char* kSourceHelp = R"(
Sources and keys:
  --key-file PATH         try this file's bytes on every locked device ("-": standard
                          input); a newline at its end counts, as with cryptsetup
  --key NAME=file:PATH    a key for one device, by its name or UUID; also NAME=fd:NUMBER
                          and NAME=env:VARIABLE. Without NAME=, tried on every device
  --volume-key NAME=file:PATH
                          the key that the data itself is encrypted with, in the places
                          of --key: its bytes, or the hexadecimal digits of it
  --header NAME=PATH      the detached LUKS header of a device
  --as NAME=KIND          open a device as that, whatever its bytes say: raw (in no image
                          format), none (look into nothing), vhd, qcow2, luks, lvm, gpt,
                          mbr or ext; more than once for several devices
  --allow-reference PATH  a file (or a directory of them) that images may name as backing
                          or data file, besides images below their own directory; a data
                          file is written only if it is named so, or as a source
  --depth N               how many image files within one another to open (3)
  --no-search             do not look for image files in filesystems: --depth 0
  --no-prompt             never ask for a passphrase
)";

inline constexpr const char* kLimitHelp =
    R"(  --kdf-memory SIZE       memory that a LUKS header may ask for (4G, at most half of the RAM)
  --kdf-iterations N      iterations that one may ask for (100000000)
  --kdf-seconds N         time that trying keys may take in all (600)
  --run-files N           files that are looked at for images in all (2000000)
  --identify-bytes SIZE   bytes read in all to find out what devices are (32G)
  -v, --verbose           say more
  -q, --quiet             no warnings
What is still locked, and on the way to what was asked for, is asked for on the terminal,
if standard input is one: three times each; an empty line leaves it locked.
)";

}  // namespace peelfs::cli
