// Commands in messages: a command that is printed for a person can be pasted into a shell, even if
// the names in it hold special characters.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace peelfs {

/// One word for a shell: as it is when that is safe; otherwise in single quotes, which every shell
/// understands; with control characters, or bytes that this locale cannot show, as $'...' (bash,
/// zsh, ksh and POSIX 2024). printable() changes nothing in it.
std::string shell_word(std::string_view word);

/// Words of a command line with blanks between them, each as shell_word() gives it.
std::string shell_line(const std::vector<std::string>& words);

}  // namespace peelfs
