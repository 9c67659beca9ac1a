// A command that is run on a device of a mount.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "mount/process.h"

namespace peelfs::cli {

/// What keeps a command from finding the original devices: a /dev of its own, with nothing in it
/// but null, tty and the like, and a list of devices for libblkid that names only `members`.
struct Isolation {
  std::string folder;                ///< of ours, empty, for what it takes
  std::vector<std::string> members;  ///< paths; empty: no isolation
};

/// The process that becomes the command. It is made before any key is read, so that it never has
/// one, and waits until it is told what to run.
class Runner {
 public:
  Runner();
  /// Ends the process if nothing was run.
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /// Runs the command and waits for its end. SIGINT and SIGQUIT of the terminal are the command's;
  /// SIGTERM and SIGHUP are handed on to it, and it gets a SIGTERM when this process is killed.
  /// @return its exit code, 128 + the signal that ended it, or try_exit::not_found or not_runnable
  /// @throws Error when it could not be kept away from the original devices
  int run(const std::vector<std::string>& words, const Isolation& isolation);

  /// The signal that told this process to end while the command ran, and was handed on; 0: none.
  static int ended_by() noexcept;

 private:
  [[noreturn]] static void become(pid_t parent, int orders, int report);

  UniqueFd orders_, report_;
  pid_t child_ = -1;
};

}  // namespace peelfs::cli
