// Signals that are the command's while it runs.
#pragma once

#include <sys/types.h>

#include <array>
#include <csignal>

namespace peelfs::jobs {

/// While one exists this process hands SIGTERM and SIGHUP on to a child, and leaves SIGINT and
/// SIGQUIT, which the terminal sends to both, to it. One at a time.
class HandedSignals {
 public:
  /// @param child who gets them; 0: nobody yet, they are kept until to() is called
  explicit HandedSignals(pid_t child = 0);
  ~HandedSignals();
  HandedSignals(const HandedSignals&) = delete;
  HandedSignals& operator=(const HandedSignals&) = delete;

  /// Names who gets them from now on; one that came before is sent at once. 0: nobody.
  static void to(pid_t child) noexcept;
  /// In the child that is to become the command: as it was before.
  void restore() noexcept;
  /// The last one that was handed on; 0: none.
  static int last() noexcept;

 private:
  static constexpr std::array kSignals{SIGINT, SIGQUIT, SIGTERM, SIGHUP};
  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace peelfs::jobs
