#include "engine/side_by_side.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>
#include <set>
#include <vector>

namespace peelfs::test {
namespace {

TEST(SideBySide, EachIsDoneOnce) {
  std::mutex mutex;
  std::multiset<std::size_t> done;
  side_by_side(100, 8, [&](std::size_t index) {
    const std::lock_guard lock(mutex);
    done.insert(index);
  });
  EXPECT_EQ(done.size(), 100U);
  EXPECT_EQ(std::set(done.begin(), done.end()).size(), 100U);
  side_by_side(0, 8, [](std::size_t) { FAIL(); });
}

TEST(SideBySide, OneWorkerKeepsTheOrder) {
  std::vector<std::size_t> done;
  side_by_side(20, 1, [&](std::size_t index) { done.push_back(index); });
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.size(), 20U);
}

TEST(SideBySide, WhatIsThrownComesOutAndTheOthersAreDone) {
  std::atomic<unsigned> done{0};
  EXPECT_THROW(side_by_side(50, 4,
                            [&](std::size_t index) {
                              ++done;
                              if (index == 7) throw std::bad_alloc();
                            }),
               std::bad_alloc);
  EXPECT_EQ(done, 50U);
}

}  // namespace
}  // namespace peelfs::test
