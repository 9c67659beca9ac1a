// What a person names for peelfs to write (a copy, a map file, a log) must not be what it reads.
#pragma once

#include <string>
#include <string_view>

#include "peelfs/host_file.h"

namespace peelfs {

/// Remembers a file that is named or read here and need not stay open as a HostFile: a key, a
/// source that cannot be opened. Thread-safe.
void note_input(const FileId& file);
/// The same by name; nothing where there is no such file.
void note_input(const std::string& path);

/// Whether a file is open here as a HostFile, was noted, or lies below a block device of which one
/// of these is true (the file behind a loop device). Thread-safe.
bool is_input(const FileId& file);

/// For an output that is open and not yet written. One that is no regular file may always be
/// written: a pipe or a terminal keeps nothing.
/// @param path for messages
/// @throws Error(Fault::usage) when it is an input; Error like refuse_in_use()
void refuse_as_output(int descriptor, const std::string& path);

/// For a file that replace_file() is to put in the place of what `path` names: nothing, or a
/// regular file that is no input. Opens nothing. @throws Error
void refuse_replacing(const std::string& path);

/// Writes a new file beside `path`, durably, and lets it take the place of what `path` names. When
/// that fails, what was there is as it was, and the new file is gone.
/// @throws Error
void replace_file(const std::string& path, std::string_view text);

}  // namespace peelfs
