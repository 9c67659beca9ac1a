// What is done in one mount: on which filesystems, in which order, and how the sources are opened.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "check/fleet_plan.h"

namespace peelfs::check {

enum class Task : std::uint8_t {
  replay,  ///< its journal, and nothing else
  repair,
  check,  ///< changes nothing
};

/// How a mount opens its sources.
enum class Access : std::uint8_t {
  read_only,
  thrown_away,  ///< through overlays that go with the mount
  overlay,      ///< through overlays in Job::overlays, which are made, and stay
  through,      ///< the same, which are only read
  in_place,     ///< the sources themselves are written
};

struct Step {
  std::size_t target = 0;  ///< an index into Plan::targets
  Task task = Task::check;
};

struct Job {
  /// Mounted as one: a mount costs as much as a small check. Of the same plan, never none.
  std::vector<const Unit*> units;
  Access access = Access::read_only;
  std::string overlays;  ///< their directory, of Access::overlay and Access::through
  /// One after the other, and before all checks: each changes what others read.
  std::vector<Step> alone;
  std::vector<std::size_t> checks;  ///< targets; at once, as many as may be
  /// What was checked before is repaired by now, see HostDevice::after_repair.
  bool after_repair = false;
};

/// The checks of a whole plan. Units that are large, or need an overlay, are alone; the others are
/// put together, as far as that leaves work for all that run at once.
/// @param plan must outlive what is returned
std::vector<Job> make_checks(const Plan& plan, unsigned at_once);

/// The units of a job as one.
Unit all_of(const Job& job);

/// A job for each of the units of one that failed: only one of them is to suffer for it.
std::vector<Job> taken_apart(const Job& job);

}  // namespace peelfs::check
