// One overlay: made, opened, known again. README.md beside this file says what it is.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "host/source.h"
#include "overlay/base.h"
#include "overlay/fingerprint.h"
#include "peelfs/block_device.h"
#include "peelfs/byte_range.h"
#include "peelfs/host_file.h"

namespace peelfs::overlay {

/// Type of the header extension that holds the state: "PLFs".
inline constexpr std::uint32_t kStateExtension = 0x504c4673;

/// The file of a source's overlay: DIR/NAME.qcow2, NAME with what no file name should hold as %XX.
std::string overlay_path(const std::string& directory, const Source& source);

enum class Mode : std::uint8_t {
  write,   ///< made if there is none, locked, continued
  read,    ///< must exist; locked against writers
  commit,  ///< must exist; also one whose commit was interrupted, whose source may hold anything
};

struct OpenedOverlay {
  std::string path;
  std::shared_ptr<const HostFile> file;
  DevicePtr image;   ///< the file's bytes
  DevicePtr disk;    ///< of the overlay, for qcow2::overlay_status(); rounded up to 512 bytes
  DevicePtr device;  ///< the same, of its exact size and the source's sector size
  Base base;
  std::uint64_t covered = 0;  ///< bytes of the source's disk when the overlay was made
  bool fresh = false;         ///< it was made just now
  bool committing = false;    ///< its source is neither old nor new
  std::string remark;         ///< something that a person should know; may be empty

  /// Whether it was resized since ('qemu-img resize'): then the device has the overlay's size.
  /// Behind the old end, bytes that the overlay does not hold read as zero, also where the source
  /// has data.
  bool grown() const { return device->size() > covered; }
  bool shrunk() const { return device->size() < covered; }
};

/// Whether there is a file where the overlay of the source would be.
bool overlay_exists(const std::string& path);

/// Makes the overlay of a source; it appears under its name only when it is complete.
/// @throws Error: the directory cannot be written, the disk is full, the name is in use
void create_overlay(const std::string& path, const Source& source, const Base& base);

/// Opens it with its locks.
/// @param accept_source take the source for the one it was made for where only the person can know
/// @param accept_grown of Mode::commit: take a source that was made larger since, as the overlay
///   was
/// @throws Error: in use, no overlay of peelfs, another source's, being committed
OpenedOverlay open_overlay(const std::string& path, const Source& source, Base base, Mode mode,
                           bool accept_source, bool accept_grown = false);

/// Puts the overlay over its source as that is now. @param base opened anew
void set_base(OpenedOverlay& overlay, const Source& source, Base base);

/// Lets the overlay know its source by more places, too, from now on; those that it knows already
/// are passed over, and what is too much (see tables.h). Durable.
/// @param overlay open for writing @param places bytes of the covered disk
/// @throws Error(Fault::unsupported): no room for them, and then it knows what it knew
void remember(const OpenedOverlay& overlay, const std::vector<ByteRange>& places);

/// Says durably that its source is about to be changed.
void mark_committing(const OpenedOverlay& overlay);

/// `peelfs commit ...` for a shell. @param paths of the overlays, in one directory
/// @param words the sources of each (source_argument()), and options
std::string commit_command(const std::vector<std::string>& paths,
                           const std::vector<std::string>& words);
/// The same for overlays whose commit was interrupted, with the options that it needs.
std::string finish_command(const std::vector<std::string>& paths, std::vector<std::string> words);
/// A source as a person would name it so that its overlay is found again.
std::string source_argument(const Source& source);
/// The same of the source that an overlay was made for, as it says. @param path of the overlay
std::string argument_for(const std::string& path);
/// source_argument(), and what a commit needs besides: leave to write the files that hold its data.
std::vector<std::string> commit_words(const Source& source, const Base& base);
/// The path of the source that an overlay was made for, as it says. @param image its bytes
/// @return empty: it does not say
std::string source_of(const BlockDevice& image);

/// What an overlay knows of its source. @param image its bytes @param path for messages
/// @throws Error when it is no overlay that peelfs has made
Fingerprint required_fingerprint(const BlockDevice& image, const std::string& path);
/// Whether an overlay was made larger. @return false also where it cannot be told
bool has_grown(const std::string& path);
/// Whether an overlay holds internal snapshots. @return true also where it cannot be told
bool has_snapshots(const std::string& path);
/// Whether a file is an overlay that peelfs has made.
bool is_overlay(const std::string& path);
/// Whether it is being committed. @param image its bytes
bool is_committing(const BlockDevice& image);

}  // namespace peelfs::overlay
