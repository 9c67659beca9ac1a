// A qcow2 image in an ext filesystem, and overlays over whole sources, as the program makes them.
#pragma once

#include <string>

#include "writing/qcow2_stack.h"

namespace peelfs::test {

/// whole.raw: an ext filesystem with inner.qcow2, that others cannot open in place: they look at a
/// copy.
struct NestedOptions {
  Qcow2Options inner;
  std::string filesystem = "-t ext4";  ///< options of mke2fs
  std::string size = "24M";
  bool overlay = false;  ///< not in place: in overlays/whole.qcow2
};

/// Makes whole.raw in an empty folder.
void make_nested(const std::string& folder, const NestedOptions& options);
/// The same when it is there already.
Disk nested_disk(const std::string& folder, const NestedOptions& options);

/// Shell commands, in the folder. In this order: an overlay with its source is copied to a plain
/// file; what a person does after a power cut; inner.qcow2 is copied to where nested_disk() looks
/// for it, out of a filesystem in which nothing is wrong and nothing else has changed.
std::string flatten_nested(const NestedOptions& options);
std::string repair_nested(const NestedOptions& options);
std::string copy_nested(const NestedOptions& options);

/// `disk` with its only source under an overlay: overlays/NAME.qcow2, over a raw or qcow2 source.
Disk covered(Disk disk, const std::string& format);

}  // namespace peelfs::test
