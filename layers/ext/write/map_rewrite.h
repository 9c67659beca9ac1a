// Block maps with more blocks in them. Nothing that the old map uses is changed before the new one
// takes its place: an inode lies in one sector of the disk, so it has the old map or the new one.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "ext/inode.h"
#include "ext/volume.h"

namespace peelfs::ext {

/// Blocks of a file that hold data now: a hole or unwritten until then.
struct WrittenRun {
  std::uint64_t logical = 0, blocks = 0, physical = 0;
};

struct RewrittenMap {
  std::array<std::byte, 60> root{};  ///< i_block
  std::vector<std::uint64_t> added;  ///< blocks of the new map that the old one has not
  std::vector<std::uint64_t> freed;  ///< blocks of the old map that the new one has not
  /// Blocks that are written once everything else is durable: each pointer in them is valid alone,
  /// so that a power cut may let only some of them reach the disk.
  std::vector<std::pair<std::uint64_t, Buffer>> late;
};

/// Takes one free block for a node.
using TakeBlock = std::function<std::uint64_t()>;

/// Writes new nodes, and flushes nothing.
/// @param inode i_block as it is on the disk
/// @param runs in order, without overlap
/// @throws Error: damaged, and what `take` throws
RewrittenMap rewrite_extents(const Volume& volume, const Inode& inode,
                             const std::vector<WrittenRun>& runs, const TakeBlock& take);
RewrittenMap rewrite_indirect(const Volume& volume, const Inode& inode,
                              const std::vector<WrittenRun>& runs, const TakeBlock& take);

/// The most blocks that rewriting a map can take. They are allocated before a write is accepted.
/// @param leaves of the old tree, from count_leaves()
/// @param runs how many, of `blocks` blocks in all
std::uint64_t most_new_extent_nodes(std::uint64_t block_size, std::uint64_t leaves,
                                    std::uint64_t runs, std::uint64_t blocks);
std::uint64_t most_new_indirect_blocks(std::uint64_t block_size, std::uint64_t runs,
                                       std::uint64_t blocks);

/// Leaves of an extent tree; the root counts as one where it is the only node.
/// @throws Error when it is damaged
std::uint64_t count_leaves(const Volume& volume, const Inode& inode);

}  // namespace peelfs::ext
