// One image in two roles: written as itself, and read as the backing file of another. The reader
// keeps tables of it in memory, so with both roles at once it would read bytes that have moved.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "peelfs/origin.h"

namespace peelfs::qcow2 {

class Writer;

/// Thread-safe; of this process.
/// Says that the image is the backing file of another, as long as the result lives. An image that
/// is open for writing and has not been written to can only be read from then on.
/// @throws Error(Fault::denied) when it has been written to
std::shared_ptr<const void> rely_on(const Origin& image, const std::string& by);

/// Says that the image is written through `writer`, as long as that lives.
/// @throws Error(Fault::denied) with EROFS when another image relies on it
void claim_for_writing(const Origin& image, const std::shared_ptr<Writer>& writer);

}  // namespace peelfs::qcow2
