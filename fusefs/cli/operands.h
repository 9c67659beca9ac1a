// What the words that are no options stand for. A verb's operands have one of a few shapes:
//   SOURCE...               take_sources
//   SOURCE... NAME          take_last, take_sources (with FILE, MOUNTPOINT or a command as well)
//   NAME of a checkpoint    take_checkpoint
//   MOUNTPOINT..., and others that only one verb has: in the verb's own file
// All throw Error(Fault::usage) that says what is missing, or too much.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace peelfs::cli {

/// The last operand, taken away. @param what it is, for the message
std::string take_last(std::vector<std::string>& operands, std::string_view what);

/// All that is left are sources.
/// @param before what follows the sources on the command line, for the message; may be empty
void take_sources(std::vector<std::string>& sources, std::vector<std::string> operands,
                  const std::string& before);

/// SOURCE... NAME, of verbs that read one device.
void take_sources_and_name(std::vector<std::string>& sources, std::string& name,
                           std::vector<std::string> operands);

/// NAME of a checkpoint, which is of all overlays in the directory.
void take_checkpoint(std::string& name, std::vector<std::string> operands);

}  // namespace peelfs::cli
