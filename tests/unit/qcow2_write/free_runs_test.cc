// Runs of free clusters against a plain set of numbers.
#include "qcow2/write/free_runs.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace peelfs::qcow2 {
namespace {

/// The runs that a set of numbers makes.
std::size_t runs_of(const std::set<std::uint64_t>& model) {
  std::size_t runs = 0;
  for (const std::uint64_t cluster : model) runs += model.contains(cluster - 1) ? 0 : 1;
  return runs;
}

TEST(FreeRuns, AreWhatASetOfNumbersIs) {
  std::mt19937_64 random(1);
  FreeRuns runs;
  std::set<std::uint64_t> model;
  for (int i = 0; i < 20'000; ++i) {
    switch (random() % 4) {
      case 0:
        if (!model.empty()) {
          const FreeRuns::Run lowest = runs.lowest();
          ASSERT_EQ(lowest.first, *model.begin());
          for (std::uint64_t j = 0; j < lowest.count; ++j) {
            ASSERT_TRUE(model.contains(lowest.first + j));
          }
          ASSERT_FALSE(model.contains(lowest.first + lowest.count));
          const std::uint64_t count = 1 + random() % lowest.count;
          runs.take(count);
          model.erase(model.begin(), std::next(model.begin(), static_cast<std::ptrdiff_t>(count)));
        }
        break;
      case 1:
        if (model.size() > 250) {
          const std::uint64_t first = runs.drop_highest();
          ASSERT_TRUE(model.contains(first));
          ASSERT_FALSE(model.contains(first - 1));
          model.erase(model.find(first), model.end());
        }
        break;
      default:
        if (const std::uint64_t cluster = 1 + random() % 500; model.insert(cluster).second) {
          runs.add(cluster);
        }
    }
    ASSERT_EQ(runs.empty(), model.empty());
    ASSERT_EQ(runs.runs(), runs_of(model));
  }
}

}  // namespace
}  // namespace peelfs::qcow2
