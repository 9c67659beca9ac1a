// Copy-on-write overlays: standard qcow2 images whose backing file is a source.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "peelfs/block_device.h"

namespace peelfs::qcow2 {

/// A header extension: other programs keep and ignore extensions that they do not know.
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

/// Opens the image in `file` for writing (if it is writable) with `backing` as its backing file;
/// the name in the image is not used, and no host file is opened.
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

// Internal snapshots of an image that no program has open. `file` is writable, growable (or large
// enough), and was opened since the image was last changed: its size is the image's.

struct SnapshotInfo {
  std::string id, name;
  std::uint64_t date_seconds = 0;
  std::uint64_t vm_state_size = 0;  ///< bytes; 0: a snapshot of the disk only
};
std::vector<SnapshotInfo> list_snapshots(const BlockDevice& file);

/// A change of an image's snapshots that has all the space it needs. A caller that changes several
/// images prepares all of them first: a full disk then leaves every one as it was. Not thread-safe;
/// the image must not be changed otherwise before apply().
class SnapshotChange {
 public:
  /// @throws Error with nothing changed: EEXIST, ENOENT, ENOSPC, or what is wrong with the image
  static SnapshotChange create(const DevicePtr& file, const std::string& name);
  /// Makes the disk what it was when the snapshot was taken; the snapshot stays.
  static SnapshotChange revert(const DevicePtr& file, const std::string& name);
  static SnapshotChange remove(const DevicePtr& file, const std::string& name);
  SnapshotChange(SnapshotChange&&) noexcept;
  ~SnapshotChange();

  /// Once. Bracketed by the dirty bit: after a power cut `qemu-img check -r all` restores exact
  /// bytes. @throws Error when the host fails to overwrite; the image stays dirty then
  void apply();

 private:
  class Editor;
  explicit SnapshotChange(std::unique_ptr<Editor> editor);
  std::unique_ptr<Editor> editor_;
};

// Prepared and applied at once.
void create_snapshot(const DevicePtr& file, const std::string& name);
void revert_to_snapshot(const DevicePtr& file, const std::string& name);
void delete_snapshot(const DevicePtr& file, const std::string& name);

}  // namespace peelfs::qcow2
