// What `peelfs fsck` shows on a terminal while it works: a line for each check under way, which
// goes away in the end.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "check/fleet.h"

namespace peelfs::cli {

/// Not thread-safe.
class FsckScreen {
 public:
  /// @param wanted it draws only on a terminal, and only then
  FsckScreen(const check::Plan& plan, bool wanted);
  ~FsckScreen();
  FsckScreen(const FsckScreen&) = delete;
  FsckScreen& operator=(const FsckScreen&) = delete;

  /// What begins now. @param what is done with so many targets: "checked"
  void begin(std::string_view what, std::size_t targets);
  void started(std::size_t target);
  void progressed(std::size_t target, unsigned percent);
  void finished(std::size_t target);
  /// Draws anew.
  void tick();
  /// Takes all lines away, so that something else can be said.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  struct Line {
    Clock::time_point began;
    unsigned percent = 0;
  };
  std::string text_of(std::size_t target, const Line& line, Clock::time_point now) const;

  const check::Plan& plan_;
  const bool active_;
  std::map<std::size_t, Line> lines_;
  std::string what_ = "checked";
  std::size_t done_ = 0, all_ = 0;
  std::size_t drawn_ = 0;  ///< lines that stand on the terminal
  unsigned turn_ = 0;      ///< of the spinner
};

}  // namespace peelfs::cli
