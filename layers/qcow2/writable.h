// Whether an image may be written, and what has to be done before its first byte is.
#pragma once

#include <memory>

#include "qcow2/image.h"

namespace peelfs::qcow2 {

/// Makes image.writer. Clears the autoclear features that peelfs does not keep true, on the disk.
/// @throws Error saying why it cannot be written safely; nothing was changed then
void make_writable(Image& image);

}  // namespace peelfs::qcow2
