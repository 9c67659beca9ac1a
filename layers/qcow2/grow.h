// Making the disk of an image larger.
#pragma once

#include <cstdint>
#include <optional>

#include "peelfs/block_device.h"
#include "peelfs/error.h"

namespace peelfs::qcow2 {

/// Why the disk of an image cannot be made larger here, and what to do; nullopt: it can.
/// @param file the image's bytes @param size of the disk, bytes
std::optional<Error> cannot_grow(const BlockDevice& file, std::uint64_t size);

/// Makes the disk of an image that nothing else has open larger, durably; one that is large enough
/// stays as it is. What is new reads as zero, but for what the image held there before it was last
/// made smaller, and what a longer backing file has there. A power cut leaves the old size or the
/// new one, and leaked clusters at worst.
/// @param file writable, and growable or with free clusters @param size bytes
/// @throws Error as cannot_grow() says; damaged counts; ENOSPC
void grow_image(const DevicePtr& file, std::uint64_t size);

}  // namespace peelfs::qcow2
