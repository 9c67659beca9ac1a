// Bringing what an overlay holds into its source.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "host/source.h"

namespace peelfs::overlay {

/// What a commit is about to write.
struct Announcement {
  std::string source;
  std::string overlay;
  std::uint64_t data = 0;    ///< bytes that will be written
  std::uint64_t zeroes = 0;  ///< bytes that will be made zero
  std::vector<Part> parts;   ///< besides the source: a writable one is written
};

struct CommitRequest {
  std::vector<SourceSpec> sources;
  std::vector<std::string> allow_references;
  std::string directory;
  bool accept_source = false;
  bool accept_shared = false;   ///< others may own or write the overlays and their directory
  bool accept_part = false;     ///< some of those that were written together may be left out
  bool grow = false;            ///< make a source larger whose overlay has grown
  bool drop_snapshots = false;  ///< internal snapshots go with the overlay
  /// Called once, before anything is written. May throw to stop.
  std::function<void(const std::vector<Announcement>&)> announce;
  /// Called now and then: what is done ("writing disk.img"), bytes done and bytes in all. May throw
  /// to stop; the commit can be continued then.
  std::function<void(const std::string&, std::uint64_t, std::uint64_t)> progress;
};

struct Committed {
  std::string source;
  std::string overlay;        ///< empty: it has none, and is as it was
  std::uint64_t data = 0;     ///< bytes written
  std::uint64_t zeroes = 0;   ///< bytes made zero
  std::uint64_t grown = 0;    ///< bytes by which the source was made longer
  std::size_t snapshots = 0;  ///< that are gone with the overlay
  bool resumed = false;       ///< an interrupted commit was continued
};

/// Commits the overlays of the sources that have one, and removes them. In order, each durable
/// before the next: every overlay is marked, every source made larger that must be, written and
/// flushed, read back from the disk and compared, every overlay removed. Stopped at any moment it
/// goes on when it is called again; until then no overlay that was marked can be mounted.
/// @throws Error: nothing is written yet: in use, an overlay that is not the source's, a source
///   that cannot be written, one that was written together with others that are not named, an
///   overlay of another size without `grow`, or whose source cannot become larger, one with
///   internal snapshots without `drop_snapshots`; later: a message that says that it is half done,
///   and how to finish it
std::vector<Committed> commit(const CommitRequest& request);

}  // namespace peelfs::overlay
