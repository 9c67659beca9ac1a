// Reference counts of the clusters of an image that is written, and the allocation of free ones.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "peelfs/block_device.h"
#include "qcow2/header.h"
#include "qcow2/write/free_runs.h"

namespace peelfs::qcow2 {

/// A run of clusters that was taken from the free ones.
struct ClusterRun {
  std::uint64_t offset = 0;  ///< bytes, in the image file
  std::uint64_t count = 0;   ///< clusters
  /// Whether it lies behind everything that was ever stored, so that it reads as zero.
  bool fresh = false;
};

/// The refcount table and its blocks. Changes stay in memory until the writer has written what
/// unwritten() lists; the order in which that reaches the disk is the writer's. Not thread-safe.
class Refcounts {
 public:
  /// @param file outlives it
  /// @param end bytes of the file that are in use or were; moved forward by allocations
  /// @param growable whether clusters behind the end of the file can be had
  Refcounts(const BlockDevice& file, const Header& header, std::atomic<std::uint64_t>& end,
            bool growable);

  /// Takes 1 to `count` free clusters that lie together; their reference count is 1 then.
  /// @throws Error(Fault::io) with ENOSPC when there is none
  ClusterRun allocate(std::uint64_t count);
  /// Takes exactly `count` clusters that lie together. @return their offset in bytes
  /// @throws Error like allocate()
  std::uint64_t allocate_together(std::uint64_t count);
  /// Takes a cluster for a table that is written later: it has space in the file from now on, so
  /// that a full disk refuses the write that needs the table, and not the flush after it.
  /// @return its offset in bytes. @throws Error like allocate(), or what writing to it throws
  std::uint64_t allocate_table();

  std::uint64_t get(std::uint64_t cluster);
  /// @throws Error when the count cannot become greater
  void increment(std::uint64_t cluster);
  void decrement(std::uint64_t cluster);
  /// For every cluster that [offset, offset + length) touches.
  void decrement_range(std::uint64_t offset, std::uint64_t length);
  /// The count that its width allows.
  std::uint64_t greatest() const noexcept;

  /// What is on the disk not yet, as it is now.
  struct Unwritten {
    struct Bytes {
      std::uint64_t offset = 0;
      Buffer bytes;
    };
    std::vector<Bytes> blocks;
    /// Entries of the table, or a whole new table: to be written once the blocks are durable.
    std::vector<Bytes> table;
    /// The new table's place, for the header, once the table is durable.
    bool moved = false;
    std::uint64_t table_offset = 0;
    std::uint32_t table_clusters = 0;
    std::map<std::uint64_t, std::uint64_t> versions;  ///< block index -> version that was copied
  };
  Unwritten unwritten() const;
  bool has_unwritten() const noexcept { return !dirty_.empty() || !new_entries_.empty() || moved_; }
  std::size_t unwritten_blocks() const noexcept { return dirty_.size(); }
  /// Says that it is durable now. What changed since stays unwritten.
  void written(const Unwritten& what);
  /// Lets the counts of the clusters that [offset, offset + length) touches have space of their
  /// own, so that changing them later, in memory and in a flush, needs none.
  /// @throws Error with ENOSPC
  void claim(std::uint64_t offset, std::uint64_t length);
  /// The same for what written() frees when the table has moved.
  void claim_old_tables();

 private:
  struct Block {
    Buffer bytes;
    std::uint64_t version = 0;
  };
  Block& block(std::uint64_t index);
  Block& new_block(std::uint64_t index, std::uint64_t cluster);
  void set(std::uint64_t cluster, std::uint64_t count);
  Block& claimed_block(std::uint64_t cluster);
  void grow_table();
  void reserve(std::uint64_t cluster, std::uint64_t count) const;
  void scan();
  std::uint64_t skip_used(std::uint64_t cluster);
  std::uint64_t index_of(std::uint64_t cluster) const noexcept { return cluster >> block_bits_; }
  void check_room(std::uint64_t cluster) const;
  void trim();

  const BlockDevice& file_;
  const std::uint32_t cluster_bits_;
  const std::uint32_t order_;
  const std::uint32_t block_bits_;  ///< log2 of the counts in a block
  std::atomic<std::uint64_t>& end_;
  const bool growable_;
  const std::uint64_t clusters_limit_;
  std::uint64_t table_offset_;
  std::uint32_t table_clusters_;
  std::vector<std::uint64_t> table_;
  std::map<std::uint64_t, Block> blocks_;
  std::set<std::uint64_t> dirty_;
  std::set<std::uint64_t> new_entries_;
  /// Blocks, by index, and the table itself: written since the image was opened. Where an image is
  /// sparse, or lies in another that is, even what is on the disk may have no space of its own.
  std::set<std::uint64_t> has_space_;
  bool table_has_space_ = false;
  bool moved_ = false;
  std::vector<ClusterRun> old_tables_;
  std::uint64_t scanned_ = 1;  ///< below it nothing is free but what freed_ has
  FreeRuns freed_;
};

/// Writes it in an order that no power cut can make inconsistent, each step durable before the
/// next; the last step is written, not flushed.
void write_counts(const BlockDevice& file, const Refcounts::Unwritten& what);

}  // namespace peelfs::qcow2
