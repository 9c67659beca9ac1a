// L1 and L2 tables of an image that is written: what was changed and is not yet on the disk.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/mutex.h"
#include "qcow2/read/block_cache.h"

namespace peelfs::qcow2 {

/// Readers get immutable blocks: the changed one where there is one, else what the cache or the
/// disk has. Reading is thread-safe; changes come from one thread at a time (the writer's lock).
class Tables {
 public:
  using Block = BlockCache::Block;

  /// Which table a block belongs to. Their blocks differ in length, so that they differ in key.
  enum class Kind : std::uint8_t { l2 = 0, l1 = 1 };

  Tables(const BlockDevice& file, BlockCache& cache, std::uint64_t cache_owner)
      : file_(file), cache_(cache), owner_(cache_owner) {}

  /// The block at `offset` of the image file.
  /// @param length bytes; always the same for one offset and kind
  Block load(Kind kind, std::uint64_t offset, std::size_t length) const;

  struct Change {
    std::size_t at = 0;  ///< bytes, in the block
    std::uint64_t value = 0;
  };
  /// Changes 64-bit entries, all at once for every reader. Nothing is read.
  /// @param before what load() has answered since the last change of the block
  void change(Kind kind, std::uint64_t offset, const Block& before,
              std::span<const Change> changes);

  /// Begins an L2 table in clusters that hold nothing of it yet. @param bytes the whole table
  void begin_l2(std::uint64_t offset, Bytes bytes, std::size_t block_length);

  /// What is not on the disk yet, as it is now.
  struct Unwritten {
    std::map<std::uint64_t, Block> l2;          ///< by offset in the image file
    std::map<std::uint64_t, std::uint64_t> l1;  ///< entries, by offset in the image file
  };
  Unwritten unwritten() const;
  std::size_t unwritten_bytes() const noexcept { return unwritten_bytes_; }
  /// Says that it is durable now. What changed since stays unwritten.
  void written(const Unwritten& what);

 private:
  static std::uint64_t key_of(Kind kind, std::uint64_t offset) noexcept {
    return offset | static_cast<std::uint64_t>(kind);  // offsets are multiples of 512
  }

  const BlockDevice& file_;
  BlockCache& cache_;
  const std::uint64_t owner_;
  mutable SharedMutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<Buffer>> changed_ PEELFS_GUARDED_BY(mutex_);  ///< by key
  std::map<std::uint64_t, std::uint64_t> l1_entries_
      PEELFS_GUARDED_BY(mutex_);  ///< as in Unwritten
  std::atomic<std::size_t> unwritten_bytes_{0};
  /// Moves on when changed blocks become clean: a reader that read the disk before that must not
  /// put the old block into the cache afterwards.
  std::atomic<std::uint64_t> generation_{0};
};

}  // namespace peelfs::qcow2
