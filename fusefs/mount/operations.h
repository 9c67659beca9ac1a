// The table of low-level FUSE operations; the user data of its session is a FuseServer.
#pragma once

// The newest interface that Debian 12's libfuse (3.14) has.
#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "peelfs/bytes.h"

namespace peelfs {

const fuse_lowlevel_ops& fuse_operations();

/// Adds the operations that would change something: each answers EROFS.
void add_refusals(fuse_lowlevel_ops& table);

/// Adds the operations that change a device, in a mount that can be written.
void add_write_operations(fuse_lowlevel_ops& table);

/// A page-aligned buffer of at least `size` bytes of the calling thread's own, kept until the
/// thread ends.
/// @throws std::bad_alloc
MutableBytes thread_buffer(std::size_t size);

}  // namespace peelfs
