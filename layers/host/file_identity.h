// What a file is, whatever it is called: names change, and another process's directory gives the
// same name to something else.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "peelfs/host_file.h"

namespace peelfs {

struct FileIdentity {
  bool block_device = false;
  dev_t device = 0;  ///< st_rdev of a block device, st_dev of anything else
  ino_t inode = 0;   ///< 0 of a block device
  bool operator==(const FileIdentity&) const = default;
};

FileIdentity identity_of(const HostFile& file);

/// Follows links. Asks neither a network nor a daemon for what the kernel knows already, and
/// triggers no automount. @return nullopt: there is none, or this user may not look
std::optional<FileIdentity> identity_of(const std::string& path);
/// The same of an open descriptor.
std::optional<FileIdentity> identity_of(int descriptor);

}  // namespace peelfs
