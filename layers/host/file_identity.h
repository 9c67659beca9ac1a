// What a file is, whatever it is called: names change, and another process's directory gives the
// same name to something else.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "peelfs/host_file.h"

namespace peelfs {

/// Follows links. Asks neither a network nor a daemon for what the kernel knows already, and
/// triggers no automount. @return nullopt: there is none, or this user may not look
std::optional<FileId> identity_of(const std::string& path);
/// The same of an open descriptor.
std::optional<FileId> identity_of(int descriptor);

}  // namespace peelfs
