// Nodes of block maps that were read, for the next lookup.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <vector>

#include "ext/ext_disk.h"

namespace peelfs::ext {

/// One node of a file's block map, decoded: an extent tree's, or an indirect block's numbers.
struct MapNode {
  ExtentNode extents;
  std::vector<std::uint32_t> pointers;
  /// Of each pointer: how many from it on follow one another, or are all holes. A block has at most
  /// 2^14 of them.
  std::vector<std::uint16_t> runs;

  std::size_t memory() const {
    return sizeof(MapNode) + extents.entries.size() * sizeof(ExtentEntry) +
           pointers.size() * sizeof(std::uint32_t) + runs.size() * sizeof(std::uint16_t);
  }
};

/// The file that a node belongs to, and its block. Whether a node is valid depends on its inode
/// (checksum), so a block that two damaged files share is decoded for each of them.
struct NodeKey {
  std::uint64_t volume;  ///< Volume::id
  std::uint32_t inode;
  std::uint64_t block;
  auto operator<=>(const NodeKey&) const = default;
};

// All nodes that are kept take at most 16 MiB, however many filesystems are open; each thread keeps
// the last few that it has met besides, and finds those without a lock. Thread-safe.

/// @return null when it is not kept
std::shared_ptr<const MapNode> find_node(const NodeKey& key);

void keep_node(const NodeKey& key, std::shared_ptr<const MapNode> node);

/// Drops the nodes of one file, whose map has changed. No lookup in that file runs meanwhile.
void forget_nodes(std::uint64_t volume, std::uint32_t inode);

}  // namespace peelfs::ext
