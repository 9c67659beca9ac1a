// A /dev without disks.
#pragma once

#include <string>
#include <vector>

namespace peelfs::cli {

/// Gives this process and its children a /dev of their own, in a mount namespace of their own: as
/// root, or in a user namespace in which this user is who they were. Call it in a process with one
/// thread that will only exec.
/// @param folder where this user can make a directory
/// @return what could not be done; "" when everything was
std::string hide_devices(const std::string& folder);

/// Writes the file that makes libblkid (BLKID_FILE, or /run/blkid) know these devices, which are
/// regular files: btrfs-progs looks for the other members of a filesystem among them. Behind
/// hide_devices().
/// @return its path; "" when it cannot be written
std::string write_device_list(const std::string& folder, const std::vector<std::string>& members);

}  // namespace peelfs::cli
