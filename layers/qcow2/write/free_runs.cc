#include "qcow2/write/free_runs.h"

#include <iterator>

namespace peelfs::qcow2 {

void FreeRuns::add(std::uint64_t cluster) {
  auto next = runs_.upper_bound(cluster);
  if (next != runs_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == cluster) {
      ++before->second;
      if (next != runs_.end() && next->first == cluster + 1) {
        before->second += next->second;
        runs_.erase(next);
      }
      return;
    }
  }
  std::uint64_t count = 1;
  if (next != runs_.end() && next->first == cluster + 1) {
    count += next->second;
    next = runs_.erase(next);
  }
  runs_.emplace_hint(next, cluster, count);
}

void FreeRuns::take(std::uint64_t count) {
  const Run run = lowest();
  const auto next = runs_.erase(runs_.begin());
  if (run.count > count) runs_.emplace_hint(next, run.first + count, run.count - count);
}

std::uint64_t FreeRuns::drop_highest() {
  const auto highest = std::prev(runs_.end());
  const std::uint64_t first = highest->first;
  runs_.erase(highest);
  return first;
}

}  // namespace peelfs::qcow2
