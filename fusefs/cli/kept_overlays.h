// What `peelfs try` has left where temporary files go: overlays whose changes were kept.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace peelfs::cli {

struct KeptOverlay {
  std::string path;
  std::string source;         ///< the image that it is over; empty: it cannot be told
  std::uint64_t bytes = 0;    ///< that it takes on its disk: what `peelfs drop` frees
  bool holds_changes = true;  ///< false: nothing was written to it
  std::string holder;         ///< the program that has it in use: its `try` still runs
  std::string why_not;        ///< why it cannot be looked into; empty: it was
};

/// A directory of them.
struct KeptFolder {
  std::string path;
  std::chrono::seconds age{0};  ///< since the last change of one of them
  std::vector<KeptOverlay> overlays;
  std::string why_not;  ///< why it cannot be listed: it is another user's; empty: it was

  std::uint64_t bytes() const;
  /// Whether `peelfs drop` would take it: no program has it in use.
  bool is_droppable() const;
};

/// The directories of this user (of root: of all users) that `try` has made in $TMPDIR, /var/tmp
/// and /tmp, oldest first. Opens the overlays for reading, takes no lock.
/// @param places for tests; empty: those
std::vector<KeptFolder> kept_overlays(std::vector<std::string> places = {});

/// What a file takes on its disk, in bytes; 0: it cannot be asked.
std::uint64_t allocated_bytes(const std::string& path);

}  // namespace peelfs::cli
