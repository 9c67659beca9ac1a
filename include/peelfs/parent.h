// Another disk that an image builds on: opened by the table, whatever format it has.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "peelfs/formats.h"
#include "peelfs/layer.h"
#include "peelfs/trouble.h"

namespace peelfs {

/// Longer chains of images are refused. qemu has no limit of its own but needs a file descriptor
/// for each; libvirt stops at 200.
inline constexpr std::size_t kMostParents = 256;

/// A disk that was opened for the image that builds on it.
struct Parent {
  DevicePtr disk;
  std::vector<Part> parts;  ///< its own: the files behind it, in the order of the chain
  Troubles troubles;        ///< of the disk; the child says whose they are
};

/// Whether a file may be opened as the next parent.
/// @param children the images that it is opened for, the outermost child first
/// @throws Error(Fault::damaged) when it is one of them, Error(Fault::unsupported) when there are
///   kMostParents of them
void check_parent(std::span<const Origin> children, const Origin& file, const std::string& name);

/// Opens a file as the disk in it, by the row of its format. "raw" is for the caller to take as it
/// is. Thread-safe.
/// @param file as References found it
/// @param format as the child or Formats names it ("vhd"), or qemu does ("vpc")
/// @param child what the child was opened with: its formats, keys, limits and budget are used
/// @param children `child.children` and the child itself
/// @throws Error: unsupported when no row has that format or the row opens none, and what the row
///   throws
Parent open_parent(const References::Found& file, std::string_view format, const OpenInput& child,
                   std::span<const Origin> children);

}  // namespace peelfs
