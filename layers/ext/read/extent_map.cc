#include <algorithm>

#include "ext/read/block_map.h"
#include "ext/read/node_cache.h"
#include "peelfs/error.h"

namespace peelfs::ext {

namespace {

constexpr std::uint64_t kLogicalEnd = 1ULL << 32U;  // ee_block has 32 bits

class ExtentMap : public BlockMap {
 public:
  ExtentMap(std::shared_ptr<const Volume> volume, const Inode& inode)
      : volume_(std::move(volume)), inode_(inode.number) {
    // The inode's own checksum covers the root. Damage in it shows when the map is asked.
    try {
      root_ = decode_extent_node(inode.block, std::nullopt);
    } catch (const Error& error) {
      root_damage_ = error;
    }
    if (volume_->super().has_ro_compat(kRoCompatMetadataCsum)) {
      seed_ = inode_checksum_seed(volume_->super().checksum_seed, inode.number, inode.generation);
    }
  }

  BlockRun at(std::uint64_t logical) const override {
    if (logical >= kLogicalEnd) {
      throw Error(Fault::damaged, "the file is longer than an extent tree can map")
          .found("block " + std::to_string(logical))
          .expected("below 2^32");
    }
    if (root_damage_) throw Error(*root_damage_);
    std::shared_ptr<const MapNode> holder;
    const ExtentNode* node = &root_;
    std::uint64_t end = kLogicalEnd;  // where what the node may cover ends
    // Each step goes one level down, and the depth of the root is at most 5.
    while (node->depth > 0) {
      auto next = std::upper_bound(
          node->entries.begin(), node->entries.end(), logical,
          [](std::uint64_t block, const ExtentEntry& entry) { return block < entry.logical; });
      // What lies before the first index belongs to the first child, where only a hole can be.
      const ExtentEntry& index = next == node->entries.begin() ? *next++ : *std::prev(next);
      if (next != node->entries.end()) end = next->logical;
      std::shared_ptr<const MapNode> child = load(index, node->depth);
      check_interval(child->extents, index, end);
      holder = std::move(child);
      node = &holder->extents;
    }
    return find(*node, logical, end);
  }

 private:
  std::shared_ptr<const MapNode> load(const ExtentEntry& index, std::uint16_t parent_depth) const {
    const NodeKey key{volume_->id(), inode_, index.physical};
    std::shared_ptr<const MapNode> node = find_node(key);
    if (!node) {
      volume_->check_blocks(index.physical, 1, "a node of an extent tree");
      auto fresh = std::make_shared<MapNode>();
      try {
        fresh->extents = decode_extent_node(volume_->read_block(index.physical), seed_);
      } catch (Error& error) {
        error.add_context("block " + std::to_string(index.physical));
        throw;
      }
      for (const ExtentEntry& entry : fresh->extents.entries) {
        volume_->check_blocks(entry.physical, std::max(entry.length, 1U), "an extent");
      }
      keep_node(key, fresh);
      node = std::move(fresh);
    }
    if (node->extents.depth != parent_depth - 1) {
      throw Error(Fault::damaged, "extent tree node at block " + std::to_string(index.physical) +
                                      " stands at the wrong depth (eh_depth)")
          .found(std::to_string(node->extents.depth))
          .expected(std::to_string(parent_depth - 1));
    }
    return node;
  }

  static void check_interval(const ExtentNode& node, const ExtentEntry& index, std::uint64_t end) {
    if (node.entries.empty()) return;
    const ExtentEntry& last = node.entries.back();
    const std::uint64_t last_end =
        static_cast<std::uint64_t>(last.logical) + (node.depth == 0 ? last.length : 1);
    if (node.entries.front().logical >= index.logical && last_end <= end) return;
    throw Error(Fault::damaged, "extent tree node at block " + std::to_string(index.physical) +
                                    " covers what its parent gave to others")
        .found("blocks " + std::to_string(node.entries.front().logical) + " to " +
               std::to_string(last_end) + " of the file")
        .expected("within " + std::to_string(index.logical) + " to " + std::to_string(end));
  }

  BlockRun find(const ExtentNode& leaf, std::uint64_t logical, std::uint64_t end) const {
    const auto next = std::upper_bound(
        leaf.entries.begin(), leaf.entries.end(), logical,
        [](std::uint64_t block, const ExtentEntry& entry) { return block < entry.logical; });
    if (next != leaf.entries.begin()) {
      const ExtentEntry& extent = *std::prev(next);
      const std::uint64_t within = logical - extent.logical;
      if (within < extent.length) {
        // Extents in the inode itself have not been checked by load().
        volume_->check_blocks(extent.physical, extent.length, "an extent");
        if (extent.unwritten) {
          return {extent.length - within, std::nullopt, extent.physical + within};
        }
        return {extent.length - within, extent.physical + within, std::nullopt};
      }
    }
    return {(next == leaf.entries.end() ? end : next->logical) - logical, std::nullopt,
            std::nullopt};
  }

  const std::shared_ptr<const Volume> volume_;
  const std::uint32_t inode_;
  ExtentNode root_;
  std::optional<Error> root_damage_;
  std::optional<std::uint32_t> seed_;
};

}  // namespace

std::unique_ptr<BlockMap> make_extent_map(std::shared_ptr<const Volume> volume,
                                          const Inode& inode) {
  return std::make_unique<ExtentMap>(std::move(volume), inode);
}

}  // namespace peelfs::ext
