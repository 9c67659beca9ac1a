// Repairs what a check has found damaged, in overlays or in place, and checks it again.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "check/fleet.h"

namespace peelfs::check {

struct RepairOptions {
  /// Writes the sources themselves. What cannot be repaired stays as its program has left it.
  bool in_place = false;
  /// Makes an empty directory for the overlays of some sources, which goes if the run ends before
  /// they are done. @throws Error
  std::function<std::string(const std::vector<SourceSpec>&)> make_directory;
  /// Names a directory anew whose repairs are clean. May be null.
  std::function<std::string(const std::string&)> accept_directory;
  /// Why the sources of a unit cannot be written in the end, a clause, said before they are
  /// repaired in vain; empty: they can. May be null.
  std::function<std::string(const Unit&, const std::vector<SourceSpec>&)> cannot_be_written;
};

/// The sources of a unit with what was repaired in them. All of it, and what lies beside it, was
/// checked again as the overlays have it now: what was repaired is clean, the rest is as it was.
struct Repair {
  const Unit* unit = nullptr;
  std::string overlays;              ///< their directory; empty: the sources were written
  std::vector<std::size_t> targets;  ///< repaired, or only their journals replayed
  std::string seal;                  ///< seal_of(overlays) behind the second check
};

/// What a directory of overlays is, and which files are in it, in which state: not their bytes, but
/// it is another one when somebody has written or exchanged them.
/// @return empty: it is no directory, or cannot be read
std::string seal_of(const std::string& directory);

/// Repairs every target with errors, if its program can, and replays the journals of the others
/// that had to be replayed. Those of one unit one after the other, and what lies within another
/// filesystem after that: where its blocks lie may be what is repaired. A unit of which one target
/// cannot be repaired is begun anew without that and without all that lies within it.
/// @param outcomes of check_all(): those of the targets in the result say State::repaired or
///   State::replayed then, the others say why they are not repaired
/// @return units in which something was repaired or replayed; after a cancel those that were done
std::vector<Repair> repair_all(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
                               std::vector<Outcome>& outcomes, jobs::Spawner& spawner,
                               const FleetOptions& options, FleetObserver& observer,
                               const RepairOptions& how);

}  // namespace peelfs::check
