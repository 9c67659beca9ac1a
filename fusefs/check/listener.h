// What a command that runs beside others writes: read as it comes, and kept as far as it matters.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "jobs/spawner.h"

namespace peelfs::check {

/// Not thread-safe.
class Listener {
 public:
  using Percent = std::optional<unsigned> (*)(std::string_view line);

  /// @param percent how far the command is, if a line tells; such lines are not kept. May be null
  explicit Listener(Percent percent = nullptr) : percent_(percent) {}

  std::function<void(unsigned)> progressed;    ///< per cent
  std::function<void(std::string_view)> said;  ///< a line, with its end

  /// Reads what there is. @return whether there may be more at once
  bool hear(jobs::Run& run);
  /// Reads to the end of what a command has written that has ended.
  void hear_the_rest(jobs::Run& run);

  /// The first and the last 64 KiB of it, at least.
  std::string output() const { return head_ + tail_; }

 private:
  void take(std::string_view text);
  void take_line();

  Percent percent_;
  std::string head_, tail_;
  std::string line_;  ///< that is not complete yet
};

}  // namespace peelfs::check
