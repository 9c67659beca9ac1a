// What the person named on the command line, and the files it stands for.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "peelfs/host_file.h"
#include "peelfs/layer.h"

namespace peelfs {

/// One SOURCE argument, taken apart but not looked at.
struct SourceSpec {
  std::string path;
  std::string name;       ///< from NAME=PATH; empty: made from the file name
  bool raw = false;       ///< raw:PATH: the first layer is not probed for image formats
  bool writable = false;  ///< open it for writing, too, and let nobody else write it
  /// Only read it, but let nobody write it meanwhile: it lies under an overlay.
  bool relied_on = false;
};

/// `NAME=PATH`, `raw:PATH`, `NAME=raw:PATH`, `raw:NAME=PATH` or a path; an argument that begins
/// with "/" or "./" is always a path. @throws Error(Fault::usage) for an empty name or path
SourceSpec parse_source(std::string_view argument);

/// An opened source.
struct Source {
  std::string name;  ///< its flat name if it stays a file: the file name ("os43.qcow2")
  std::string stem;  ///< its name as a disk: without the image suffix ("os43")
  std::string path;
  bool raw = false;
  std::shared_ptr<const HostFile> file;
  std::shared_ptr<const References> references;
  /// Who writes it meanwhile: a guest, as image_writer() says, or this host, as host_writer() does.
  std::string writer;

  /// An overlay over it, which takes the place of its bytes (or, if `overlay_unpacked`, of the disk
  /// that an image format unpacks them to). Null: none.
  DevicePtr overlay;
  bool overlay_unpacked = false;
  DevicePtr covered;  ///< what lies under the overlay; null: none
};

/// A source that could not be opened; the others are still usable.
struct SourceFailure {
  std::string path;
  Error error;
};

struct OpenedSources {
  std::vector<Source> sources;
  std::vector<SourceFailure> failures;
};

/// Opens every spec. A directory stands for every disk image in it (by suffix or by magic; not
/// recursive; sorted by name). The same file named twice is opened once, with a SourceFailure for
/// the second naming.
/// @param allow_references paths (--allow-reference) that images may name besides their neighbours
OpenedSources open_sources(std::span<const SourceSpec> specs,
                           std::span<const std::string> allow_references);

/// "os43.qcow2" -> "os43"; names without a known image suffix stay as they are.
std::string strip_image_suffix(std::string_view file_name);
/// Whether the file name ends in a suffix that disk images use (.qcow2, .img, .raw, .vmdk, ...).
bool has_image_suffix(std::string_view file_name);

/// The rules of design section 6 for images that lie beneath `directory`.
/// @param relied_on let nobody write what is opened: an image that is written, or covered by an
/// overlay,
///   names it
std::shared_ptr<const References> make_host_references(const std::string& directory,
                                                       std::span<const std::string> allowed,
                                                       bool relied_on = false,
                                                       bool writable = false);

/// For a second look at a source that is open for writing: what its images name is only read, and
/// no locks are taken on it. @param allow_references as for open_sources()
std::shared_ptr<const References> references_for_reading(
    const Source& source, std::span<const std::string> allow_references);

}  // namespace peelfs
