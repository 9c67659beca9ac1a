// Overlays over all sources of one run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "host/source.h"
#include "overlay/overlay.h"

namespace peelfs::overlay {

struct Request {
  enum class Kind : std::uint8_t {
    none,
    persistent,  ///< DIR/NAME.qcow2, made or continued, written
    temporary,   ///< written, and gone with the process, however it ends
    view,        ///< DIR/NAME.qcow2 of those that have one, read
  };
  Kind kind = Kind::none;
  std::string directory;  ///< of persistent (made if only its last part is missing) and view
  bool accept_source = false;
  bool accept_shared = false;  ///< others may own or write the directory, and what is in it

  bool writes() const noexcept { return kind == Kind::persistent || kind == Kind::temporary; }
};

/// Opens or makes the overlay of every source and puts it over it. Nothing is shown before: an
/// unwritable directory, a full disk, two sources of one name fail here, and then no overlay is
/// left behind that was not there before.
/// @param opened takes what was opened for writing, to be kept; may be null
/// @return things that a person should know
/// @throws Error
std::vector<std::string> cover(std::vector<Source>& sources, const Request& request,
                               std::vector<OpenedOverlay>* opened = nullptr);

/// The overlays of the sources that have one, each under its path.
/// @throws Error(Fault::usage) when two sources would have the same
std::vector<std::string> overlay_paths(const std::vector<Source>& sources,
                                       const std::string& directory);

/// The files in a directory that are overlays of peelfs, sorted. @throws Error
std::vector<std::string> overlays_in(const std::string& directory);

}  // namespace peelfs::overlay
