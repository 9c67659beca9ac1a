// What lies below a block device of the host that is a loop device, or a partition of one: the file
// that it shows, and so on down. A guest or another peelfs that uses that file puts its locks and
// marks there, and not on the loop device.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "host/in_use.h"
#include "peelfs/host_file.h"

namespace peelfs {

/// A run of bytes of a file or device.
struct Place {
  FileId file;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

/// Where the bytes of a file or device are: in itself, in the disk of a partition, in the file
/// under a loop device, and so on, from above to below, as far as this user may know it.
/// @param size in bytes
std::vector<Place> places_of(const FileId& file, std::uint64_t size,
                             const HostView& view = HostView());
std::vector<Place> places_of(const HostFile& file);

/// Whether two of them have bytes in common.
bool overlap(const std::vector<Place>& one, const std::vector<Place>& other);

/// For the constructor and the destructor of HostFile: opens the file below a loop device, only for
/// reading, and keeps it as long as the device is open. The file is left out where it cannot be
/// opened, or where its path leads to another file by now. Two partitions of one loop device share
/// it, so that the locks of one are not in the way of the other.
void hold_below(const HostFile& file) noexcept;
void release_below(const HostFile& file) noexcept;

/// What is held for a device, all the way down. Thread-safe.
std::vector<std::shared_ptr<const HostFile>> files_below(const HostFile& file);

}  // namespace peelfs
