// Several signatures on one device: which is the old one can only be guessed, so a person is told.
#pragma once

#include <optional>
#include <string_view>

#include "peelfs/layer.h"

namespace peelfs {

/// @param taken what the device is treated as: the format of the row that claimed it, or libblkid's
///   type
/// @return a note that names all signatures and the one that is used; nothing when there is one, or
///   when they belong together (a hybrid ISO, the content of a RAID1 member)
std::optional<Trouble> several_signatures(const Identity& identity, std::string_view taken);

}  // namespace peelfs
