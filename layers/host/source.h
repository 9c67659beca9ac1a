// What the person named on the command line, and the files it stands for.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "peelfs/host_file.h"
#include "peelfs/layer.h"

namespace peelfs {

class Consent;

/// One SOURCE argument, taken apart but not looked at.
struct SourceSpec {
  std::string path;
  std::string name;       ///< from NAME=PATH; empty: made from the file name
  bool raw = false;       ///< raw:PATH: the first layer is not probed for image formats
  bool writable = false;  ///< open it for writing, too, with a lock against other writers
  /// Only read it, with a lock against writers: it lies under an overlay.
  bool relied_on = false;
  /// It was found in a directory that the person named: it is what lies there, and no link.
  bool from_directory = false;
  /// How long it may leave a question unanswered while it is opened and first read; 0: for ever.
  std::chrono::seconds patience{0};
  /// Those of the run: one that is for this source says how its bytes are read. Null: none.
  std::shared_ptr<const std::vector<Directive>> directives = nullptr;
  const Layer* as = nullptr;  ///< see Source: of a source that was looked at before
};

/// `NAME=PATH`, `raw:PATH`, `NAME=raw:PATH`, `raw:NAME=PATH` or a path; an argument that begins
/// with "/" or "./" is always a path. @throws Error(Fault::usage) for an empty name or path
SourceSpec parse_source(std::string_view argument);

/// An opened source.
struct Source {
  std::string name;  ///< its flat name if it stays a file: the file name ("os43.qcow2")
  std::string stem;  ///< its name as a disk: without the image suffix ("os43")
  std::string path;
  bool raw = false;             ///< no image format is looked for: the person says so
  const Layer* as = nullptr;    ///< the image format that the person says it is in; null: none
  bool from_directory = false;  ///< see SourceSpec
  std::shared_ptr<const HostFile> file;
  std::shared_ptr<const References> references;
  std::shared_ptr<const Consent> consent;  ///< what the person named in this run
  /// The program that writes it meanwhile: a guest (see image_writer()), or this host (see
  /// host_writer()).
  std::string writer;
  /// The program that has the image in use, by its locks, whether it writes it or relies on it (see
  /// image_holder()), or else `writer`. Empty: none does.
  std::string holder;

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

/// What lies in a directory that the person named, and is not taken for a source.
struct LeftOutEntry {
  std::string path;
  enum class Why : std::uint8_t {
    link,       ///< a symbolic link, which must be named to be followed
    packed,     ///< a disk image that has to be unpacked first: disk.img.gz
    no_image,   ///< neither a suffix nor a signature of disk images
    hidden,     ///< its name begins with a dot
    directory,  ///< sources are not looked for below
    mounted,    ///< something is mounted on it
    other,      ///< no file: a FIFO, a socket, a character device, a block device without a medium
    unreadable,
  } why;
};

struct OpenedSources {
  std::vector<Source> sources;
  std::vector<SourceFailure> failures;
  /// Named as sources, but parts of others: filled by overlay::open_disks().
  std::vector<Source> parts;
  std::vector<LeftOutEntry> left_out;  ///< sorted by path
  std::vector<std::string> remarks;    ///< for people
};

/// Opens every spec. A directory stands for every disk image in it: regular files by suffix or by
/// magic, and block devices; not recursive, sorted by name, and never through a link. The same file
/// named twice is opened once, with a SourceFailure for the second naming. One that does not answer
/// has a SourceFailure, too.
/// @param allow_references paths (--allow-reference) that images may name besides their neighbours
/// @param formats by which images are known; must outlive what is returned
/// @throws Error(Fault::usage) for one of those paths that is not there
OpenedSources open_sources(std::span<const SourceSpec> specs,
                           std::span<const std::string> allow_references, const Formats& formats);

/// The rules of design section 6 for images that lie in `directory`. A file beneath it may be read
/// if it looks like an image. Any other file, and any file that is to be written, is opened only if
/// a person has named it. Nothing is opened that is not a regular file.
/// @param relied_on lock the opened files against writers: an image that is written, or covered by
///   an overlay, names them
/// @param block_device the image is one: it may name nothing but what a person named, too
/// @throws Error when there is no such directory
std::shared_ptr<const References> make_host_references(const std::string& directory,
                                                       std::shared_ptr<const Consent> consent,
                                                       bool relied_on, bool block_device = false);
/// The same for reading a file. @param allowed as --allow-reference names them
std::shared_ptr<const References> make_host_references(const std::string& directory,
                                                       std::span<const std::string> allowed,
                                                       const Formats& formats);

/// For a second look at a source that is open for writing: the files that its images name are only
/// read, and not locked.
std::shared_ptr<const References> references_for_reading(const Source& source);

}  // namespace peelfs
