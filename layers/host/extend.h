// A host file that becomes longer while it is open.
#pragma once

#include <cstdint>
#include <memory>

#include "peelfs/host_file.h"

namespace peelfs {

/// The same open file, with its locks, as long as it is now.
/// @throws Error with the host's errno
std::shared_ptr<const HostFile> with_present_size(const HostFile& file);

/// Makes a regular file longer, durably, and never shorter; what is new reads as zero.
/// @param file open for writing @param size bytes
/// @return the same open file as it is then
/// @throws Error: denied when it is not open for writing, usage when it is a block device, or with
///   the host's errno (EFBIG, ENOSPC)
std::shared_ptr<const HostFile> extend(const HostFile& file, std::uint64_t size);

}  // namespace peelfs
