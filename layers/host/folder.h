// What is done to the names of files: listed, made durable, moved, taken away.
#pragma once

#include <string>
#include <vector>

namespace peelfs {

/// The names in a directory, without "." and "..", sorted. Its access time stays as it is where its
/// owner or root asks.
/// @param shown what it is called in messages; empty: as it is opened here
/// @throws Error
std::vector<std::string> names_in(const std::string& directory, const std::string& shown = {});

/// Makes the names in the directory that `path` lies in durable. @throws Error
void flush_names_around(const std::string& path);

/// Gives a file another name, durably, unless that name is in use.
/// @throws Error with EEXIST when it is
void rename_to_new(const std::string& from, const std::string& to);

/// Takes a file's name away, durably; one that is not there is no failure. @throws Error
void remove_file(const std::string& path);

}  // namespace peelfs
