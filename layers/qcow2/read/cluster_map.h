// From guest offsets to host clusters: L1 and L2 tables, extended L2 entries.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "peelfs/block_device.h"
#include "qcow2/header.h"
#include "qcow2/read/block_cache.h"

namespace peelfs::qcow2 {

class Writer;

enum class ClusterKind : std::uint8_t {
  unallocated,  ///< the backing file's bytes, zeroes where there are none
  zero,         ///< reads as zero, also where the backing file has data
  standard,     ///< verbatim (or encrypted) bytes of the data file
  compressed,
};

/// A run of guest bytes that are stored alike.
struct GuestRun {
  ClusterKind kind = ClusterKind::zero;
  std::uint64_t length = 0;  ///< bytes, from the offset asked for
  /// standard: where the first byte is in the data file; the run is contiguous there, and inside of
  /// it. compressed: where the compressed bytes begin in the image file.
  std::uint64_t host = 0;
  /// standard: whether nothing else refers to it, so that it may be overwritten.
  bool copied = false;
  /// compressed: their number, as far as the image file has them. The run ends with the cluster.
  std::uint32_t compressed_length = 0;
  /// compressed: the descriptor, which identifies the cluster's contents.
  std::uint64_t descriptor = 0;
};

/// One L1 table with the L2 tables that it refers to. Tables are loaded when they are asked for, in
/// slices of at most 16 KiB, into the shared cache; nothing else is kept. Thread-safe.
class ClusterMap {
 public:
  struct Settings {
    TableLocation l1;
    /// Snapshots of images that were later resized may have a shorter table than their disk needs
    /// (they do not store its size): what lies beyond is unallocated then, damaged otherwise.
    bool short_l1_is_unallocated = false;
    /// Bytes are decrypted by sector, so that missing ones cannot be taken as zero.
    bool encrypted = false;
    /// Of the active table of an image that is written; null otherwise. It outlives the map.
    const Writer* writer = nullptr;
  };

  /// The blocks in which tables are loaded, in bytes.
  static constexpr std::size_t kL1BlockSize = 16384;
  static std::size_t l2_block_size(const Header& header) noexcept {
    return std::min<std::size_t>(kL1BlockSize, header.cluster_size());
  }

  /// @param header outlives the map, as does `file`; checked with check_l1() for settings.l1
  /// @param data_size bytes of the file that standard clusters lie in
  /// @param cache_owner under which number the image's blocks are in the cache
  ClusterMap(const BlockDevice& file, const Header& header, std::uint64_t data_size,
             const Settings& settings, BlockCache& cache, std::uint64_t cache_owner);

  /// The blocks of tables that a walk over neighbouring entries stays in, so that it asks the cache
  /// once a block. For one thread.
  class Cursor {
    friend class ClusterMap;
    struct Place {
      BlockCache::Block block;
      std::uint64_t offset = 0;
    };
    std::array<Place, 2> places_;
    unsigned blocks_ = 0;  ///< how many were fetched for the answer
    bool from_l1_ = true;  ///< whether the last of them belongs to the L1 table
  };

  /// What is at `offset`.
  /// @param cursor of earlier answers of the same map, or a new one
  /// @param length bytes wanted, at least 1; the answer is no longer
  /// @return as long a run as few table reads can tell: a caller that wants more asks again behind
  ///   it
  /// @throws Error(Fault::damaged) when the entry for `offset` contradicts the specification
  GuestRun run_at(std::uint64_t offset, std::uint64_t length, Cursor& cursor) const;
  GuestRun run_at(std::uint64_t offset, std::uint64_t length) const {
    Cursor cursor;
    return run_at(offset, length, cursor);
  }

  /// The same, but nullopt instead of an Error: for looking ahead, where damage must not fail the
  /// request.
  std::optional<GuestRun> peek(std::uint64_t offset, std::uint64_t length, Cursor& cursor) const;

  /// For how many bytes from `offset` on no entry can be followed, because a table is damaged,
  /// leads out of the file or cannot be read. The number is exact.
  /// @return 0 to `length`; where there are more, a caller asks again behind it
  std::uint64_t missing(std::uint64_t offset, std::uint64_t length) const;

  /// The L2 entry for the cluster at `offset`, checked; zeroes where there is no L2 table.
  struct EntryAt {
    L2Entry entry;
    SubclusterBitmap bitmap;
  };
  EntryAt entry_at(std::uint64_t offset) const;

 private:
  struct Unit;
  enum class Table : std::uint8_t { l1, l2 };

  Unit unit_at(std::uint64_t offset, std::uint64_t wanted, Cursor& cursor) const;
  std::uint64_t missing_unit(std::uint64_t offset, Cursor& cursor) const;
  std::optional<Unit> peek_unit(std::uint64_t offset, std::uint64_t wanted, Cursor& cursor) const;
  GuestRun run_from(const Unit& first, std::uint64_t offset, std::uint64_t length,
                    Cursor& cursor) const;
  Unit cluster_unit(std::uint64_t offset, const Unit& unit) const;
  Unit standard_unit(std::uint64_t within, const Unit& unit) const;
  Unit subcluster_unit(std::uint64_t within, bool placed, Unit unit) const;
  Unit compressed_unit(const Unit& unit) const;
  const Buffer& block(Table table, std::uint64_t offset, Cursor& cursor) const;
  std::string_view metadata_at(std::uint64_t begin, std::uint64_t end) const;
  std::uint64_t file_end() const noexcept;
  std::uint64_t data_end() const noexcept;
  [[noreturn]] void fail(const Unit& unit, std::uint64_t offset) const;

  const BlockDevice& file_;
  const Header& header_;
  const std::uint64_t data_size_;
  const Settings settings_;
  BlockCache& cache_;
  const std::uint64_t cache_owner_;
  const std::uint64_t l2_slice_size_;
};

}  // namespace peelfs::qcow2
