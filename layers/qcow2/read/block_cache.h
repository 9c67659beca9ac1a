// Bounded memory for what was read or computed from images: table slices, decompressed clusters.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "peelfs/bytes.h"
#include "peelfs/mutex.h"

namespace peelfs::qcow2 {

/// A least-recently-used cache of byte blocks, in shards so that readers rarely meet: a lookup
/// takes one shard's lock for the time of a hash lookup, and no thread reads a disk or decompresses
/// under a lock. Blocks are immutable, and stay alive as long as a reader holds them. Thread-safe.
class BlockCache {
 public:
  using Block = std::shared_ptr<const Buffer>;

  /// What a block is: `owner` tells images apart (see new_owner), `id` the block in its image.
  struct Key {
    std::uint64_t owner = 0;
    std::uint64_t id = 0;
    bool operator==(const Key&) const = default;
  };

  /// @param capacity bytes in all, shared evenly by the shards; a block larger than a shard's part
  ///   is not kept
  /// @param shards a power of two
  BlockCache(std::size_t capacity, std::size_t shards);

  /// @return null when it is not here
  Block find(const Key& key);
  /// Keeps the block. When two threads insert the same key, one of the (equal) blocks stays.
  void insert(const Key& key, Block block);
  /// Keeps the block in the place of what was kept under the key.
  void replace(const Key& key, Block block);
  /// Bytes kept now, in all shards, with what keeping them costs.
  std::size_t used() const;

  /// An owner's number that was not used before in this process.
  static std::uint64_t new_owner() noexcept;

  struct Hash {
    std::size_t operator()(const Key& key) const noexcept;
  };

 private:
  struct Entry {
    Key key;
    std::size_t cost = 0;
    Block block;
  };
  struct Shard {
    mutable Mutex mutex;
    std::list<Entry> by_use PEELFS_GUARDED_BY(mutex);  ///< most recently used first
    std::unordered_map<Key, std::list<Entry>::iterator, Hash> index PEELFS_GUARDED_BY(mutex);
    std::size_t used PEELFS_GUARDED_BY(mutex) = 0;
  };
  Shard& shard_of(const Key& key);

  const std::size_t shard_capacity_;
  std::vector<Shard> shards_;
};

/// The blocks that the calling thread has found last, for blocks that never change: finding one
/// takes no lock. Holds up to 8 blocks a thread beyond what the cache counts.
class RecentBlocks {
 public:
  /// @return null when the thread has not kept it, or has kept another in its place since
  static BlockCache::Block find(const BlockCache::Key& key);
  static void keep(const BlockCache::Key& key, BlockCache::Block block);
};

/// The caches that images share.
struct Caches {
  BlockCache tables;
  BlockCache clusters;
  /// Held while a cluster is unpacked for the cache, so that it is done once. One lock stands for
  /// many clusters; the thread that holds it only computes.
  Mutex& unpacking_of(const BlockCache::Key& key) {
    return unpacking.at((key.id ^ (key.id >> 9U) ^ key.owner) % unpacking.size());
  }
  std::array<Mutex, 61> unpacking;
};

/// One pair for the process, so that memory stays bounded for any number of images and any length
/// of backing chains: 32 MiB of table slices (at 64 KiB clusters they describe 256 GiB of disk) and
/// 32 MiB of decompressed clusters.
Caches& process_caches();

}  // namespace peelfs::qcow2
