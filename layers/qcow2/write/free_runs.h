// Clusters that are known to be free, as runs.
#pragma once

#include <cstdint>
#include <map>

namespace peelfs::qcow2 {

/// Not thread-safe.
class FreeRuns {
 public:
  bool empty() const noexcept { return runs_.empty(); }
  std::size_t runs() const noexcept { return runs_.size(); }

  /// Adds a cluster that is not among them.
  void add(std::uint64_t cluster);

  struct Run {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
  };
  /// The lowest. Not to be called when there is none.
  Run lowest() const { return {runs_.begin()->first, runs_.begin()->second}; }
  /// Takes the first `count` clusters of the lowest run, at most as many as it has.
  void take(std::uint64_t count);

  /// Forgets the highest run. @return its first cluster
  std::uint64_t drop_highest();

 private:
  std::map<std::uint64_t, std::uint64_t> runs_;  ///< first cluster -> how many; they never touch
};

}  // namespace peelfs::qcow2
