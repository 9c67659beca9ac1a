// A command that is run on a device of a mount.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "mount/process.h"
#include "world/world.h"

namespace peelfs::jobs {

/// Exit codes that stand for no exit code of the command, as env(1) has them.
namespace run_exit {
inline constexpr int kFailed = 125;       ///< peelfs failed, before or behind the command
inline constexpr int kNotRunnable = 126;  ///< the command is there and cannot be run
inline constexpr int kNotFound = 127;     ///< there is no such command
}  // namespace run_exit

/// What is to be run, and where.
struct Order {
  std::vector<std::string> words;
  world::Plan world;
  /// Rather run nothing than run it where the host's devices are.
  bool only_in_world = true;
  /// More of descriptors 0 to 2 in whose place the command gets /dev/null.
  std::set<int> withheld;
};

/// What came of it.
struct Ending {
  /// The command's exit code, 128 + the signal that ended it, or run_exit::kNotFound or
  /// kNotRunnable.
  int code = 0;
  std::string no_world;       ///< why the command ran among the host's devices; empty: it did not
  bool left_running = false;  ///< something that it had started still used the mount, and was ended
};

/// The process that becomes the command. It is made before any key is read, so that it never has
/// one, and waits until it is told what to run. The command inherits descriptors 0, 1 and 2, and
/// nothing else.
class Runner {
 public:
  /// @param withheld those of 0, 1 and 2 that keys are read from: the command gets /dev/null there
  explicit Runner(const std::set<int>& withheld);
  /// Ends the process if nothing was run.
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /// Runs the command and waits for its end, and for that of what it leaves running and what uses
  /// the mount, for ten seconds. SIGINT and SIGQUIT of the terminal are the command's; SIGTERM and
  /// SIGHUP are handed on to it, and it gets a SIGTERM when this process is killed.
  /// @throws Error when it was to run in its world only, and there can be none
  Ending run(const Order& order);

  /// Ends the command and all that it has started, by SIGKILL. Another thread may call it while
  /// run() waits.
  void kill() noexcept;

  /// In a process that was forked from this one: it has nothing to do with the command.
  void let_go();

  /// The signal that told this process to end while the command ran, and was handed on; 0: none.
  static int ended_by() noexcept;

 private:
  UniqueFd orders_, report_;
  std::atomic<pid_t> child_ = -1;
};

}  // namespace peelfs::jobs
