// A line on standard error that says how many devices were found so far, while that takes long.
#pragma once

#include <chrono>

#include "scan/scanner.h"

namespace peelfs::cli {

/// Drawn when standard error is a terminal, and the sources are looked into for more than a second.
/// Not thread-safe.
class Looking {
 public:
  explicit Looking(bool wanted);
  ~Looking();
  Looking(const Looking&) = delete;
  Looking& operator=(const Looking&) = delete;

  /// What PeelRequest::found is to be, as long as this one lives; null when nothing is drawn.
  Scanner::Observer observer();

 private:
  using Clock = std::chrono::steady_clock;
  void draw(const Tree& tree);

  const bool active_;
  const Clock::time_point began_ = Clock::now();
  bool visible_ = false;
};

}  // namespace peelfs::cli
