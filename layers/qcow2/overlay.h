// Copy-on-write overlays: standard qcow2 images whose backing file is a source.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "peelfs/block_device.h"

namespace peelfs::qcow2 {

/// A header extension: what other programs do not know they keep and ignore.
struct HeaderExtension {
  std::uint32_t type = 0;
  Buffer data;
};

struct NewImage {
  std::uint64_t size = 0;  ///< of the disk, bytes; rounded up to a multiple of 512
  std::uint32_t cluster_bits = 16;
  std::string backing_file;    ///< as it is to be stored; empty: none
  std::string backing_format;  ///< "raw", "qcow2"
  std::vector<HeaderExtension> extensions;
};

/// Writes an empty image of version 3, without flushing it.
/// @param file empty, growable, writable
void create_image(const BlockDevice& file, const NewImage& image);

/// Opens the image in `file` for writing (if it is writable) with `backing` as its backing file,
/// whatever the image calls it: no host file is opened.
/// @return its disk: image size, writable, with flush(); null backing: none
/// @throws Error: damaged or unsupported, saying why it cannot be written (dirty, corrupt, ...)
DevicePtr open_overlay(DevicePtr file, DevicePtr backing, const std::string& name);

/// What an overlay itself says of a range of its disk, without its backing file.
enum class OverlayStatus : std::uint8_t { unchanged, zero, data };
struct OverlayRun {
  OverlayStatus status = OverlayStatus::unchanged;
  std::uint64_t length = 0;  ///< bytes, at least 1
};
/// @param disk from open_overlay()
OverlayRun overlay_status(const BlockDevice& disk, std::uint64_t offset, std::uint64_t length);

/// The data of a header extension; nullopt when the image has none of that type.
std::optional<Buffer> read_extension(const BlockDevice& file, std::uint32_t type);
/// Replaces it, durably. @throws Error when the first cluster has no room for it
void write_extension(const BlockDevice& file, const HeaderExtension& extension);

/// Takes every header extension of a type out of the list, durably.
void remove_extension(const BlockDevice& file, std::uint32_t type);

/// Internal snapshots of an image that nobody has open. Bracketed by the dirty bit: after a power
/// cut `qemu-img check -r all` restores exact bytes.
/// @param file writable, growable (or large enough), and opened since the image was last changed:
/// its
///   size is the image's
struct SnapshotInfo {
  std::string id, name;
  std::uint64_t date_seconds = 0;
  std::uint64_t vm_state_size = 0;  ///< bytes; 0: a snapshot of the disk only
};
std::vector<SnapshotInfo> list_snapshots(const BlockDevice& file);
void create_snapshot(const DevicePtr& file, const std::string& name);
/// Makes the disk what it was when the snapshot was taken; the snapshot stays.
void revert_to_snapshot(const DevicePtr& file, const std::string& name);
void delete_snapshot(const DevicePtr& file, const std::string& name);

}  // namespace peelfs::qcow2
