// What every file of one ext filesystem shares: the device, the geometry, a cache of block map
// nodes.
#pragma once

#include <compare>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ext/ext_disk.h"
#include "peelfs/block_device.h"
#include "peelfs/mutex.h"

namespace peelfs::ext {

/// One node of a file's block map, decoded: an extent tree's, or an indirect block's numbers.
struct MapNode {
  ExtentNode extents;
  std::vector<std::uint32_t> pointers;

  std::size_t memory() const {
    return sizeof(MapNode) + extents.entries.size() * sizeof(ExtentEntry) +
           pointers.size() * sizeof(std::uint32_t);
  }
};

/// Recently used nodes of all filesystems, bounded by the memory they take together. Thread-safe.
class NodeCache {
 public:
  /// The file that the node belongs to, and its block. Whether a node is valid depends on its inode
  /// (checksum), so a block that two damaged files share is decoded for each of them.
  struct Key {
    std::uint64_t volume;  ///< Volume::id
    std::uint32_t inode;
    std::uint64_t block;
    auto operator<=>(const Key&) const = default;
  };

  explicit NodeCache(std::size_t max_bytes) : max_bytes_(max_bytes) {}
  /// @return null when it is not here
  std::shared_ptr<const MapNode> find(const Key& key);
  void insert(const Key& key, std::shared_ptr<const MapNode> node);
  /// Drops the nodes of one file, whose map has changed.
  void forget(std::uint64_t volume, std::uint32_t inode);

 private:
  struct Item {
    Key key;
    std::shared_ptr<const MapNode> node;
  };
  const std::size_t max_bytes_;
  Mutex mutex_;
  std::size_t bytes_ PEELFS_GUARDED_BY(mutex_) = 0;
  std::list<Item> items_ PEELFS_GUARDED_BY(mutex_);  ///< most recently used first
  std::map<Key, std::list<Item>::iterator> index_ PEELFS_GUARDED_BY(mutex_);
};

/// The one of this process: however many filesystems are open, their memory is bounded.
NodeCache& node_cache();

/// An ext2/3/4 filesystem on a device. Immutable, so thread-safe.
class Volume {
 public:
  Volume(DevicePtr device, SuperBlock super);

  const BlockDevice& device() const { return *device_; }
  const SuperBlock& super() const { return super_; }
  std::uint32_t block_size() const { return super_.block_size; }

  /// Checks that `count` blocks from `block` on can hold what `what` says.
  /// @throws Error(Fault::damaged) when they leave the filesystem or are the super block's
  void check_blocks(std::uint64_t block, std::uint64_t count, std::string_view what) const;

  /// The bytes of one block of metadata, whose number has been checked.
  Buffer read_block(std::uint64_t block) const;

  /// Another number for every volume there ever was in this process.
  std::uint64_t id() const { return id_; }

 private:
  const DevicePtr device_;
  const SuperBlock super_;
  const std::uint64_t id_;
};

}  // namespace peelfs::ext
