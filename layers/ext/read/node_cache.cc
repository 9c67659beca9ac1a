#include "ext/read/node_cache.h"

#include <array>
#include <atomic>
#include <list>
#include <map>
#include <utility>

#include "peelfs/mutex.h"

namespace peelfs::ext {

namespace {

constexpr std::size_t kMostBytes = std::size_t{16} << 20U;

/// What all threads share.
class SharedNodes {
 public:
  std::shared_ptr<const MapNode> find(const NodeKey& key) {
    const MutexLock lock(mutex_);
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    items_.splice(items_.begin(), items_, found->second);
    return found->second->node;
  }

  void insert(const NodeKey& key, std::shared_ptr<const MapNode> node) {
    const MutexLock lock(mutex_);
    if (index_.contains(key)) return;  // another thread was quicker
    bytes_ += node->memory();
    items_.push_front({key, std::move(node)});
    index_.emplace(key, items_.begin());
    while (bytes_ > kMostBytes && items_.size() > 1) {
      bytes_ -= items_.back().node->memory();
      index_.erase(items_.back().key);
      items_.pop_back();
    }
  }

  void forget(std::uint64_t volume, std::uint32_t inode) {
    const MutexLock lock(mutex_);
    const auto begin = index_.lower_bound({volume, inode, 0});
    auto end = begin;
    for (; end != index_.end() && end->first.volume == volume && end->first.inode == inode; ++end) {
      bytes_ -= end->second->node->memory();
      items_.erase(end->second);
    }
    index_.erase(begin, end);
  }

 private:
  struct Item {
    NodeKey key;
    std::shared_ptr<const MapNode> node;
  };
  Mutex mutex_;
  std::size_t bytes_ PEELFS_GUARDED_BY(mutex_) = 0;
  std::list<Item> items_ PEELFS_GUARDED_BY(mutex_);  ///< most recently used first
  std::map<NodeKey, std::list<Item>::iterator> index_ PEELFS_GUARDED_BY(mutex_);
};

SharedNodes& shared_nodes() {
  static SharedNodes nodes;
  return nodes;
}

/// Counts what was forgotten: what a thread keeps of before is not used any more.
std::atomic<std::uint64_t> forgotten = 0;

/// What one thread has met last, at most one node in each place.
struct Recent {
  NodeKey key{};
  std::uint64_t forgotten = 0;
  std::shared_ptr<const MapNode> node;
};
constexpr std::size_t kRecentPlaces = 16;
constexpr std::size_t kMostRecentBytes = std::size_t{16} << 10U;  // of one node

Recent& recent_place(const NodeKey& key) {
  thread_local std::array<Recent, kRecentPlaces> places;
  const std::uint64_t mixed = key.block ^ (key.block >> 4U) ^ (std::uint64_t{key.inode} * 7);
  return places.at(mixed % kRecentPlaces);
}

}  // namespace

std::shared_ptr<const MapNode> find_node(const NodeKey& key) {
  Recent& recent = recent_place(key);
  const std::uint64_t now = forgotten.load(std::memory_order_acquire);
  if (recent.node && recent.key == key && recent.forgotten == now) return recent.node;
  std::shared_ptr<const MapNode> node = shared_nodes().find(key);
  if (node && node->memory() <= kMostRecentBytes) recent = {key, now, node};
  return node;
}

void keep_node(const NodeKey& key, std::shared_ptr<const MapNode> node) {
  shared_nodes().insert(key, std::move(node));
}

void forget_nodes(std::uint64_t volume, std::uint32_t inode) {
  shared_nodes().forget(volume, inode);
  forgotten.fetch_add(1, std::memory_order_acq_rel);
}

}  // namespace peelfs::ext
