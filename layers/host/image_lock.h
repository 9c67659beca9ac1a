// qemu's locks on image files, taken and honoured exactly as qemu does (block/file-posix.c), so
// that a guest, qemu-img, another peelfs and this one never write an image that another of them
// relies on.
//
// Open file description locks, always shared ones, on single bytes: byte 100 + N says "I do N",
// byte 200 + N says "no one else may do N". A program that wants to do N looks for another
// program's lock on byte 200 + N; a program that forbids N looks for one on byte 100 + N. The locks
// end with the descriptor.
#pragma once

#include <string>

#include "peelfs/host_file.h"

namespace peelfs {

/// What is done with an image file.
enum class ImageUse {
  /// It is read, and must not change meanwhile: the source under an overlay, or a backing file of
  /// an image that is written. No one may write it or change its size.
  relied_on,
  /// It is written. No one else may write it.
  written,
};

/// Takes the locks for `use` on the file's open description; they last until it is closed. What is
/// written must not be shown by a mount of another peelfs (shown_file.h) or be used by this host
/// (in_use.h), either. The same holds for the file under a loop device (below.h).
/// @param file of ImageUse::written: opened for writing
/// @throws Error(Fault::denied) with EBUSY, naming who holds the image where that can be known; of
///   the host's own failures (a filesystem without locks) their errno
void lock_image(const HostFile& file, ImageUse use);

/// The process that writes the image now: "qemu-system-x86 (pid 4711)", or a text without a name if
/// it is not known. Takes no lock and blocks no other program. Empty: no program that uses qemu's
/// locks writes it.
std::string image_writer(const HostFile& file);

/// The process that has the image in use by qemu's locks, and how: "qemu-system-x86 (pid 4711)
/// writes it", "peelfs (pid 12) relies on it". Takes no lock. Empty: no other program does.
std::string image_holder(const HostFile& file);

}  // namespace peelfs
