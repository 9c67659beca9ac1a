// Text for people: sizes, columns, warnings. Everything that came from a disk is escaped on the
// way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace peelfs::cli {

/// As lsblk writes it: "512B", "1K", "101.5M", "4.5T".
std::string human_size(std::uint64_t bytes);

/// Whether the locale of this process can show box drawing and other non-ASCII text.
bool unicode_output();

/// printable(), and where the locale is not UTF-8 every other non-ASCII byte escaped, too.
std::string shown(std::string_view text);

/// Columns that a shown() text takes on a terminal.
std::size_t display_width(std::string_view text);

/// The text and blanks behind it (or, to the right, before it) up to `width` columns.
std::string pad_right(std::string_view text, std::size_t width);
std::string pad_left(std::string_view text, std::size_t width);

/// Writes to standard output. @throws Error when it cannot be written; a reader that has gone away
/// ends the process quietly, as SIGPIPE does.
void put(std::string_view text);
/// What put() buffered. Every verb ends with it.
void finish_output();

/// "peelfs: warning: ..." on standard error.
void warn(std::string_view text);

/// Ends the process as SIGPIPE would.
[[noreturn]] void reader_is_gone();

}  // namespace peelfs::cli
