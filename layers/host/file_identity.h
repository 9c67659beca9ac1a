// Identifies a file without its name: names change, and for another process the same name may lead
// to another file.
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
