#include <gtest/gtest.h>

#include <thread>

#include "qcow2/read/block_cache.h"
#include "support/support.h"

namespace peelfs::qcow2 {
namespace {

BlockCache::Block block(std::size_t size, int value = 0) {
  return std::make_shared<const Buffer>(size, static_cast<std::byte>(value));
}

TEST(BlockCache, KeepsWhatWasUsedLast) {
  BlockCache cache(10'000, 1);
  for (std::uint64_t id = 0; id < 8; ++id) cache.insert({1, id}, block(1000));
  EXPECT_NE(cache.find({1, 0}), nullptr);
  cache.insert({1, 8}, block(1000));
  EXPECT_NE(cache.find({1, 0}), nullptr);
  EXPECT_EQ(cache.find({1, 1}), nullptr);
  EXPECT_NE(cache.find({1, 8}), nullptr);
}

TEST(BlockCache, StaysWithinItsCapacity) {
  BlockCache cache(1U << 20U, 4);
  for (std::uint64_t id = 0; id < 20'000; ++id) {
    cache.insert({id % 3, id}, block(id % 5000));
    ASSERT_LE(cache.used(), 1U << 20U);
  }
  EXPECT_GT(cache.used(), 900'000U);
  // Empty blocks cost something too.
  BlockCache small(10'000, 1);
  for (std::uint64_t id = 0; id < 10'000; ++id) small.insert({1, id}, block(0));
  EXPECT_LE(small.used(), 10'000U);
  EXPECT_EQ(small.find({1, 0}), nullptr);
}

TEST(BlockCache, DoesNotKeepWhatIsTooLarge) {
  BlockCache cache(10'000, 2);
  cache.insert({1, 1}, block(100));
  cache.insert({1, 2}, block(6000));
  EXPECT_EQ(cache.find({1, 2}), nullptr);
  EXPECT_NE(cache.find({1, 1}), nullptr);
}

TEST(BlockCache, OwnersAreApart) {
  BlockCache cache(10'000, 1);
  cache.insert({1, 512}, block(1, 1));
  cache.insert({2, 512}, block(1, 2));
  EXPECT_EQ(cache.find({1, 512})->at(0), std::byte{1});
  EXPECT_EQ(cache.find({2, 512})->at(0), std::byte{2});
  EXPECT_NE(BlockCache::new_owner(), BlockCache::new_owner());
}

TEST(BlockCache, ABlockOutlivesItsEviction) {
  BlockCache cache(2000, 1);
  cache.insert({1, 1}, block(1000, 7));
  const BlockCache::Block held = cache.find({1, 1});
  cache.insert({1, 2}, block(1500));
  EXPECT_EQ(cache.find({1, 1}), nullptr);
  EXPECT_EQ(held->at(999), std::byte{7});
}

TEST(BlockCache, ManyThreads) {
  BlockCache cache(200'000, 4);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 6; ++thread) {
    threads.emplace_back([&cache, thread] {
      for (std::uint64_t i = 0; i < 20'000; ++i) {
        const std::uint64_t id = (i * 31 + static_cast<std::uint64_t>(thread)) % 500;
        const BlockCache::Block found = cache.find({1, id});
        if (found) {
          ASSERT_EQ(found->at(0), static_cast<std::byte>(id));
        } else {
          cache.insert({1, id}, block(1000, static_cast<int>(id)));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(cache.used(), 200'000U);
}

TEST(RecentBlocks, AreTheThreadsOwn) {
  const std::uint64_t owner = BlockCache::new_owner();
  EXPECT_EQ(RecentBlocks::find({owner, 512}), nullptr);
  RecentBlocks::keep({owner, 512}, block(10, 1));
  EXPECT_EQ(RecentBlocks::find({owner, 512})->at(0), std::byte{1});
  EXPECT_EQ(RecentBlocks::find({owner, 513}), nullptr);
  EXPECT_EQ(RecentBlocks::find({owner + 1, 512}), nullptr);
  std::thread([owner] { EXPECT_EQ(RecentBlocks::find({owner, 512}), nullptr); }).join();
}

TEST(RecentBlocks, AreFew) {
  const std::uint64_t owner = BlockCache::new_owner();
  const BlockCache::Block kept = block(10);
  for (std::uint64_t id = 0; id < 1000; ++id) RecentBlocks::keep({owner, id * 4096}, kept);
  EXPECT_LE(kept.use_count(), 9);
  // They are not found under another key.
  for (std::uint64_t id = 0; id < 100; ++id) {
    EXPECT_EQ(RecentBlocks::find({owner, id * 4096 + 1}), nullptr);
  }
}

}  // namespace
}  // namespace peelfs::qcow2
