// Commands that run beside one another, each in a world of its own.
//
// A process that holds keys must not become a command, nor be looked into by one. So a process
// without secrets is made first, the spawner's; it makes one more for each run, in which a Runner
// works as it does for `peelfs try`: a run has its signals, its world and its end for itself.
#pragma once

#include <sys/types.h>

#include <string>

#include "jobs/runner.h"
#include "mount/process.h"

namespace peelfs::jobs {

/// A command under way. Its standard input is /dev/null; what it writes to standard output and
/// standard error comes through one pipe.
class Run {
 public:
  Run() = default;
  Run(UniqueFd control, UniqueFd output)
      : control_(std::move(control)), output_(std::move(output)) {}

  /// Becomes readable when the command has ended; then call finish().
  int control() const noexcept { return control_.get(); }
  /// Where its output comes from; reading it never waits.
  int output() const noexcept { return output_.get(); }
  void close_output() noexcept { output_.reset(); }

  /// Tells the command to end: SIGTERM, and SIGKILL to all that it has started some seconds later.
  /// The end itself is not waited for.
  void cancel() noexcept { control_.reset(); }

  /// How it ended; waits for that. To be called once.
  /// @throws Error when it was to run in its world only, and there can be none
  Ending finish();

 private:
  UniqueFd control_, output_;
};

/// Not thread-safe.
class Spawner {
 public:
  /// Makes the process. To be called before any key is read. @throws Error
  Spawner();
  /// Ends it. Runs under way end with this process, or by Run::cancel().
  ~Spawner();
  Spawner(const Spawner&) = delete;
  Spawner& operator=(const Spawner&) = delete;

  /// Starts a command. @param background it yields the processors and the disks to all others
  /// @throws Error
  Run start(const Order& order, bool background);

  /// What a process that is forked from this one must close: it has nothing to do with the runs.
  int descriptor() const noexcept { return requests_.get(); }

 private:
  UniqueFd requests_;
  pid_t process_ = -1;
};

}  // namespace peelfs::jobs
