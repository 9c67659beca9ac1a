// Ctrl-C during a long verb: noted, so that the verb can leave things in order, then obeyed.
#pragma once

#include "peelfs/error.h"

namespace peelfs::cli {

/// While one exists SIGINT, SIGTERM and SIGHUP are noted instead of ending the process. One at a
/// time.
class Interruptible {
 public:
  Interruptible();
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

  /// The signal that came; 0: none.
  static int signal() noexcept;
  /// Ends the process by the signal that came, as it would have without us.
  [[noreturn]] static void obey();
  /// The same, when the signal has ended the verb with an error, which is said first.
  [[noreturn]] static void obey(const Error& error);
  /// In a child of this process that has nothing to leave in order: they end it again.
  static void stop_noting() noexcept;
  /// @throws Error with EINTR when a signal came: for what can be stopped in the middle
  static void check();
};

}  // namespace peelfs::cli
