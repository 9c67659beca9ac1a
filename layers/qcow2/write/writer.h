// What an image that is written changes besides data: which clusters are in use, which entry refers
// to them, and in which order both reach the disk.
//
// Nothing of that is written where it happens. Counts and tables change in memory, and flush()
// brings them to the disk, each step durable before the next:
//
//   1. reference counts (a new refcount block before the entry of the refcount table that names it,
//      a new refcount table before the header that names it), and the data of all clusters
//   2. L2 tables
//   3. L1 entries
//   4. reference counts of clusters that nothing on the disk refers to any more
//
// So at any moment the counts on the disk are at least as high as the number of references: a power
// cut leaks clusters at worst. A cluster that is given up is punched and used again only after step
// 3 and after every request has ended that could have been told of it (Epochs).
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/mutex.h"
#include "qcow2/header.h"
#include "qcow2/read/tables.h"
#include "qcow2/write/refcounts.h"

namespace peelfs::qcow2 {

/// Thread-safe. One for each image that is open for writing.
class Writer {
 public:
  /// @param file the image file, data the file that standard clusters lie in (the same, or an
  ///   external data file); both writable, and outlive it, as does `header`
  /// @param end bytes stored in `file`
  Writer(const BlockDevice& file, const BlockDevice& data, const Header& header, std::uint64_t end,
         bool growable, BlockCache& cache, std::uint64_t cache_owner);

  const Tables& tables() const noexcept { return tables_; }
  /// Bytes of the image file that may be referred to.
  std::uint64_t end() const noexcept { return end_; }

  /// What has to be done on the disk before the first write; an image that is only read stays as it
  /// is. To be called before the writer is shared.
  /// @param first changes nothing in memory when it throws: the next write begins with it again
  void at_first_write(std::function<void()> first);
  /// To be called before every write, in place too. @throws Error with EROFS after give_way(), and
  /// what at_first_write() wants done
  void touch();
  /// Makes the image read-only for good, unless touch() was called before. @return whether it is
  bool give_way(const std::string& reason);
  /// Why the image cannot be written any more; empty: it can be.
  std::string gave_way() const;
  bool is_read_only() const noexcept { return gave_way_; }

  /// Takes 1 to `count` free clusters that lie together. @throws Error with ENOSPC
  ClusterRun allocate(std::uint64_t count);
  /// Gives back clusters from allocate() that nothing refers to.
  void give_back(const ClusterRun& run) noexcept {
    count_down(run.offset, run.count << header_.cluster_bits());
  }
  /// For clusters that nothing on the disk refers to, and no request knows of.
  void count_down(std::uint64_t offset, std::uint64_t length) noexcept;

  /// A new entry for a cluster of the guest.
  struct Entry {
    std::uint64_t guest_cluster = 0;
    L2Entry entry;
    SubclusterBitmap bitmap;  ///< of extended L2 entries only
  };
  /// Bytes of the image file that an entry referred to; their clusters are counted down.
  struct Freed {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool punch = true;  ///< it is one whole cluster of data, whose space can be given back
  };
  /// Makes the entries those of the active table, for every reader from now on.
  /// The caller has written what they refer to, and holds the clusters' range.
  /// @throws Error (ENOSPC) with nothing changed: the caller still owns what it allocated
  void publish(const std::vector<Entry>& entries, const std::vector<Freed>& freed);

  /// Brings everything to the disk; see above. @throws Error; what is not durable stays to be
  /// written by the next call (ENOSPC), or is lost for good if the host's flush failed.
  void flush();

  /// To be called after a write, within its request: bounds the memory of what is unwritten.
  void limit_memory();

 private:
  struct Given {
    Freed range;
    std::uint64_t epoch = 0;
  };
  struct Place {
    std::uint64_t l1_index = 0;
    std::uint64_t block = 0;  ///< bytes, in the L2 table
    std::size_t at = 0;       ///< bytes, in the block
  };
  Place place_of(const Entry& entry) const noexcept;
  void give_space(std::uint64_t offset, std::uint64_t length) PEELFS_REQUIRES(mutex_);
  std::uint64_t own_l2(std::uint64_t l1_index) PEELFS_REQUIRES(mutex_);
  void flush_locked(bool wait_for_requests) PEELFS_REQUIRES(flushing_);
  void release(std::vector<Given> given, bool wait_for_requests) PEELFS_REQUIRES(flushing_);
  bool is_last(const Freed& range);
  Freed take_waiting() PEELFS_REQUIRES(flushing_);
  bool too_much_unwritten();
  bool too_much_given_up();
  std::uint64_t l2_entries() const noexcept {
    return header_.cluster_size() >> header_.l2_entry_bits();
  }

  const BlockDevice& file_;
  const BlockDevice& data_;
  const Header& header_;
  std::atomic<std::uint64_t> end_;
  const std::size_t l2_block_;
  mutable Mutex touching_;
  std::atomic<bool> touched_ = false;
  std::atomic<bool> gave_way_ = false;
  std::string reason_ PEELFS_GUARDED_BY(touching_);
  std::function<void()> first_ PEELFS_GUARDED_BY(touching_);
  Mutex flushing_;  ///< one flush at a time
  Mutex mutex_ PEELFS_ACQUIRED_AFTER(flushing_);
  Tables tables_;  ///< read by all threads, changed with mutex_ held
  Refcounts refcounts_ PEELFS_GUARDED_BY(mutex_);
  /// Offsets of tables: see give_space().
  std::set<std::uint64_t> has_space_ PEELFS_GUARDED_BY(mutex_);
  std::vector<Given> given_up_ PEELFS_GUARDED_BY(mutex_);
  /// Clusters whose entries are off the disk, but which requests may still know of.
  std::deque<Given> waiting_ PEELFS_GUARDED_BY(flushing_);
};

}  // namespace peelfs::qcow2
