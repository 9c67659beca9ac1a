// One image in two roles: written as itself, and read as the backing file of another. The reader
// keeps tables of it in memory, so with both roles at once it would read bytes that have moved.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "peelfs/block_device.h"
#include "peelfs/storage.h"

namespace peelfs::qcow2 {

class Writer;

/// The storage and the offset at which the first byte of an image lies: the same for two images
/// only if they are one, even if they are opened under different names or in different ways.
struct Place {
  StorageId storage = {};
  const BlockDevice* device = nullptr;
  std::uint64_t offset = 0;
  auto operator<=>(const Place&) const = default;
};
Place place_of(const BlockDevice& file);

/// Thread-safe; of this process.
/// Says that the image is the backing file of another, as long as the result lives. An image that
/// is open for writing and has not been written to can only be read from then on.
/// @throws Error(Fault::denied) when it has been written to
std::shared_ptr<const void> rely_on(const Place& place, const std::string& by);

/// Says that the image is written through `writer`, as long as that lives.
/// @throws Error(Fault::denied) with EROFS when another image relies on it
void claim_for_writing(const Place& place, const std::shared_ptr<Writer>& writer);

}  // namespace peelfs::qcow2
