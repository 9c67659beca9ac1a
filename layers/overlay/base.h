// What an overlay covers: a source's raw bytes, or the disk that it unpacks to.
#pragma once

#include <string>
#include <vector>

#include "host/source.h"
#include "peelfs/block_device.h"

namespace peelfs::overlay {

struct Base {
  DevicePtr disk;
  std::string format;       ///< as qemu calls it: "raw", "qcow2"
  std::vector<Part> parts;  ///< what its bytes come from besides the source
  bool unpacked() const noexcept { return format != "raw"; }
};

/// Opens it; writable if the source was opened for writing.
/// @throws Error: encrypted, damaged or incomplete images, which no overlay may cover; one that was
///   opened for writing and cannot be written
Base open_base(const Source& source);

}  // namespace peelfs::overlay
