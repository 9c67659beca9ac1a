// Checks many filesystems at once: mounts the units of a plan, runs the checkers on what is in
// them, and says what came of each.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "check/fleet_plan.h"
#include "check/job.h"
#include "jobs/spawner.h"

namespace peelfs::check {

/// Told of what happens, in the thread that runs the fleet. Targets are indices into Plan::targets.
class FleetObserver {
 public:
  FleetObserver() = default;
  virtual ~FleetObserver() = default;
  FleetObserver(const FleetObserver&) = delete;
  FleetObserver& operator=(const FleetObserver&) = delete;

  /// Jobs begin. @param what is done with their targets: "checked", "repaired"
  virtual void begins(std::string_view /*what*/, std::size_t /*targets*/) {}
  /// A command has been started for a target. @param words its command line
  virtual void started(std::size_t /*target*/, const std::vector<std::string>& /*words*/) {}
  /// How far the check is, per cent.
  virtual void progressed(std::size_t /*target*/, unsigned /*percent*/) {}
  /// What the command has written.
  virtual void said(std::size_t /*target*/, std::string_view /*output*/) {}
  virtual void finished(std::size_t /*target*/) {}
  /// Something that concerns no verdict: a mount that could not be ended, say.
  virtual void warned(const std::string& /*text*/) {}
  /// About ten times a second.
  virtual void tick() {}
};

struct FleetOptions {
  unsigned at_once = 1;     ///< commands, and mounts that are being made
  bool background = false;  ///< they yield the processors and the disks to all others
  /// Bytes of memory that commands under way may take in all; one is always run.
  std::uint64_t memory = 0;
  /// Whether the run is to end now. Null: it never is.
  std::function<bool()> cancelled;
};

/// What came of one target.
struct Outcome {
  Verdict verdict;
  std::vector<std::string> command;  ///< the last that was run; empty: none
  int exit_code = -1;                ///< of that
  bool was_replayed = false;
  /// False: its job was ended before, because of another target.
  bool was_reached = true;
  /// What was not checked though it belongs to it, a clause; empty: nothing.
  std::string left_out;
  bool is_busy = false;  ///< skipped because a program began to write one of its sources
  /// Of one that is repaired, or whose journal is replayed: see repair.h.
  bool is_written = false;  ///< to its source
  std::string change;       ///< what differs, a clause; empty: it is not known
  std::string overlays;     ///< where its repair is kept; empty: nowhere
  double seconds = 0;
};

/// Does all jobs. Nothing is left behind when it returns: no mount, no process, and no file but
/// the overlays of Access::overlay. The process must have one thread.
/// A job with such overlays ends with the first of its targets that could not be repaired.
/// @param peeling the sources of the plan, open
/// @param request by which they were opened; what is mounted is opened by it, too
/// @return one for each target of the plan; only those that are in a job have a verdict:
/// State::repaired says that its program has done its work, and no more
std::vector<Outcome> run_jobs(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
                              std::vector<Job> jobs, jobs::Spawner& spawner,
                              const FleetOptions& options, FleetObserver& observer);

/// Checks all targets of a plan that have a checker. Nothing is left behind when it returns: no
/// mount, no process, no file. The process must have one thread.
/// @param peeling the sources of the plan, open
/// @param request by which they were opened; what is mounted is opened by it, too
/// @return one for each target, in their order
std::vector<Outcome> check_all(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
                               jobs::Spawner& spawner, const FleetOptions& options,
                               FleetObserver& observer);

/// Three quarters of what the kernel says can be had without swapping; 0 where it does not say.
std::uint64_t usual_memory();

}  // namespace peelfs::check
