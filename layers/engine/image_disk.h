// What all image formats call the disk that they unpack a file to.
#pragma once

#include <string>

#include "peelfs/layer.h"

namespace peelfs {

/// The disk in an image, without its device: it has the name that the file would have as a disk if
/// that is free, and otherwise X_FORMAT ("lv_qcow2", for an image that lies on a device X).
/// @param format "qcow2"
inline Inner begin_image_disk(const Member& member, const std::string& format) {
  Inner disk;
  disk.kind = "disk";
  disk.name = member.unpacks_to_stem ? member.stem : member.stem + "_" + format;
  disk.stem = disk.name;
  if (!member.unpacks_to_stem) {
    disk.path = {format};
    if (!member.tail.empty()) disk.tail = member.tail + "_" + format;
  }
  return disk;
}

}  // namespace peelfs
