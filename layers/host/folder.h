// What is done to the names of files: made durable, moved, taken away.
#pragma once

#include <string>

namespace peelfs {

/// Makes the names in the directory that `path` lies in durable. @throws Error
void flush_names_around(const std::string& path);

/// Gives a file another name, durably, unless that name is in use.
/// @throws Error with EEXIST when it is
void rename_to_new(const std::string& from, const std::string& to);

/// Takes a file's name away, durably; one that is not there is no failure. @throws Error
void remove_file(const std::string& path);

}  // namespace peelfs
