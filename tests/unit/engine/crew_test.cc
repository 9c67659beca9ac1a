// Work that is shared out over threads.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "engine/crew.h"

namespace peelfs::test {
namespace {

TEST(Crew, EveryPartIsDoneOnce) {
  for (const std::size_t count : {0U, 1U, 2U, 3U, 100U}) {
    std::vector<std::atomic<int>> done(count);
    share_out(count, [&](std::size_t i) { ++done[i]; });
    for (const auto& times : done) EXPECT_EQ(times, 1);
  }
}

TEST(Crew, OthersHelp) {
  // The second part cannot end before the first has begun, and the other way round.
  std::atomic<int> begun{0};
  share_out(2, [&](std::size_t) {
    ++begun;
    while (begun < 2) std::this_thread::yield();
  });
  EXPECT_EQ(begun, 2);
}

TEST(Crew, WhatAPartThrowsArrives) {
  std::atomic<int> running{0};
  for (int round = 0; round < 200; ++round) {
    EXPECT_THROW(share_out(8,
                           [&](std::size_t i) {
                             ++running;
                             std::this_thread::yield();
                             --running;
                             if (i == 3) throw std::runtime_error("three");
                           }),
                 std::runtime_error);
    EXPECT_EQ(running, 0) << "nobody may be at it still";
  }
}

TEST(Crew, APartMayShareOutAgain) {
  std::atomic<int> done{0};
  share_out(4, [&](std::size_t) { share_out(4, [&](std::size_t) { ++done; }); });
  EXPECT_EQ(done, 16);
}

TEST(Crew, ManyAskAtOnce) {
  std::array<std::atomic<std::uint64_t>, 6> sums{};
  std::vector<std::thread> askers;
  for (auto& sum : sums) {
    askers.emplace_back([&sum] {
      for (int round = 0; round < 2000; ++round) share_out(5, [&sum](std::size_t i) { sum += i; });
    });
  }
  for (std::thread& asker : askers) asker.join();
  for (const auto& sum : sums) EXPECT_EQ(sum, 2000U * 10);
}

}  // namespace
}  // namespace peelfs::test
