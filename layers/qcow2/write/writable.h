// Whether an image may be written, and what has to be done before its first byte is.
#pragma once

#include <memory>

#include "qcow2/image.h"
#include "qcow2/write/uses.h"

namespace peelfs::qcow2 {

/// What to do with clusters that nothing refers to although they count as used.
enum class Leaks {
  keep,  ///< of an image that others made: an extension that we do not know may refer to them
  free,  ///< of one of ours: a power cut or a kill has left them
};

/// Makes image.writer. Nothing is changed on the disk before the first write, which takes away the
/// autoclear features that peelfs does not keep true.
/// @param origin to be claimed for writing (uses.h) before anything is changed; null: no other code
///   can know of the image
/// @throws Error saying why it cannot be written safely; nothing was changed then
void make_writable(Image& image, Leaks leaks, const Origin* origin);

}  // namespace peelfs::qcow2
