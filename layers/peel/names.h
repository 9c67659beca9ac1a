// Names that are safe in a directory, on a terminal and in a log.
#pragma once

#include <string>
#include <string_view>

namespace peelfs {

/// Makes text from a disk one component of a path: valid UTF-8 stays, "/", "\" and control
/// characters become \xNN. Never empty, ".", ".." or longer than 255 bytes.
std::string safe_file_name(std::string_view text);

}  // namespace peelfs
