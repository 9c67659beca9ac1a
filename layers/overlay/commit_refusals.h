// What a commit refuses before anything is written.
#pragma once

#include <string>
#include <vector>

#include "host/source.h"
#include "overlay/commit.h"
#include "overlay/overlay.h"

namespace peelfs::overlay {

struct Chosen {
  std::string path;      ///< of the overlay
  std::string argument;  ///< its source, for a command line
};

/// A part of what was written at once makes what lies across several sources (a mirror, a volume
/// group, a filesystem on two devices) neither old nor new.
/// @param begun a commit of some of them was interrupted
/// @throws Error(Fault::denied)
void refuse_part(const CommitRequest& request, const std::vector<Chosen>& chosen, bool begun);

/// An overlay that was resized: bytes behind the end of its source would be lost, or bytes behind
/// its own end would stay. @throws Error unless the source is to grow, and can
void refuse_resized(const CommitRequest& request, const Source& source,
                    const OpenedOverlay& overlay);

/// Checkpoints, and what a virtual machine has saved of itself, lie in the overlay only.
/// @throws Error unless they are to be dropped
void refuse_snapshots(const CommitRequest& request, const Source& source,
                      const OpenedOverlay& overlay);

/// How a source that was looked at is opened to be written.
SourceSpec to_be_written(const Source& source);

/// Opens what is committed into, with the locks of a writer.
/// @throws Error for the first that cannot be opened for writing
OpenedSources open_to_write(const std::vector<SourceSpec>& specs, const CommitRequest& request);

/// Checks that the sources could be written, for a caller that has not made the overlays yet.
/// Writes nothing; the locks are gone afterwards. Needs no `directory`.
/// @throws Error as commit() would
void refuse_unwritable(const CommitRequest& request);

}  // namespace peelfs::overlay
