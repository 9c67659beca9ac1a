// The progress bar of a long copy, on standard error, when that is a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace peelfs::cli {

/// Not thread-safe.
class Progress {
 public:
  /// @param label what is copied; shown()
  Progress(std::string label, std::uint64_t total, bool wanted);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// @param done bytes; drawn a few times a second however often it is called
  void update(std::uint64_t done);
  /// Takes the bar away, so that something else can be said.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(std::uint64_t done, double seconds, std::size_t columns) const;

  const std::string label_;
  const std::uint64_t total_;
  const bool active_;
  const Clock::time_point began_ = Clock::now();
  Clock::time_point drawn_{};
  bool visible_ = false;
};

}  // namespace peelfs::cli
