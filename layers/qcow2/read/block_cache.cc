#include "qcow2/read/block_cache.h"

#include <atomic>

#include "peelfs/mutex.h"

namespace peelfs::qcow2 {

namespace {

/// What an entry costs besides its bytes, so that many small ones are bounded too.
constexpr std::size_t kEntryOverhead = 192;

struct Recent {
  BlockCache::Key key;
  BlockCache::Block block;
};

/// The place where the calling thread keeps a block; it is shared by all blocks with the same hash.
Recent& recent_of(const BlockCache::Key& key) {
  thread_local std::array<Recent, 8> recent;
  return recent.at((BlockCache::Hash{}(key) >> 16U) % recent.size());
}

}  // namespace

BlockCache::BlockCache(std::size_t capacity, std::size_t shards)
    : shard_capacity_(capacity / shards), shards_(shards) {}

std::size_t BlockCache::Hash::operator()(const Key& key) const noexcept {
  // Multiplicative mixing: ids are offsets whose low bits are all zero.
  const std::uint64_t mixed = (key.id ^ (key.owner << 48U) ^ key.owner) * 0x9e37'79b9'7f4a'7c15ULL;
  return static_cast<std::size_t>(mixed ^ (mixed >> 32U));
}

BlockCache::Shard& BlockCache::shard_of(const Key& key) {
  return shards_[(Hash{}(key) >> 8U) & (shards_.size() - 1)];
}

BlockCache::Block BlockCache::find(const Key& key) {
  Shard& shard = shard_of(key);
  const MutexLock lock(shard.mutex);
  const auto found = shard.index.find(key);
  if (found == shard.index.end()) return nullptr;
  shard.by_use.splice(shard.by_use.begin(), shard.by_use, found->second);
  return found->second->block;
}

void BlockCache::insert(const Key& key, Block block) {
  const std::size_t cost = block->size() + kEntryOverhead;
  if (cost > shard_capacity_) return;
  std::list<Entry> fresh;
  fresh.push_front({key, cost, std::move(block)});
  Shard& shard = shard_of(key);
  std::list<Entry> evicted;  // its blocks are freed behind the lock
  const MutexLock lock(shard.mutex);
  if (!shard.index.try_emplace(key, fresh.begin()).second) return;
  while (shard.used + cost > shard_capacity_) {
    const auto last = std::prev(shard.by_use.end());
    shard.used -= last->cost;
    shard.index.erase(last->key);
    evicted.splice(evicted.begin(), shard.by_use, last);
  }
  shard.by_use.splice(shard.by_use.begin(), fresh);
  shard.used += cost;
}

void BlockCache::replace(const Key& key, Block block) {
  Shard& shard = shard_of(key);
  {
    std::list<Entry> outdated;  // freed behind the lock
    const MutexLock lock(shard.mutex);
    if (const auto found = shard.index.find(key); found != shard.index.end()) {
      shard.used -= found->second->cost;
      outdated.splice(outdated.begin(), shard.by_use, found->second);
      shard.index.erase(found);
    }
  }
  insert(key, std::move(block));
}

std::size_t BlockCache::used() const {
  std::size_t sum = 0;
  for (const Shard& shard : shards_) {
    const MutexLock lock(shard.mutex);
    sum += shard.used;
  }
  return sum;
}

std::uint64_t BlockCache::new_owner() noexcept {
  static std::atomic<std::uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

BlockCache::Block RecentBlocks::find(const BlockCache::Key& key) {
  const Recent& recent = recent_of(key);
  return recent.key == key ? recent.block : nullptr;
}

void RecentBlocks::keep(const BlockCache::Key& key, BlockCache::Block block) {
  recent_of(key) = {key, std::move(block)};
}

Caches& process_caches() {
  // Never destroyed: readers may still be about when the program ends.
  static Caches& caches = *new Caches{BlockCache(32U << 20U, 16), BlockCache(32U << 20U, 4), {}};
  return caches;
}

}  // namespace peelfs::qcow2
