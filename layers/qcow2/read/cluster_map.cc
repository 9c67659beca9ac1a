#include "qcow2/read/cluster_map.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "qcow2/read/cluster_defect.h"
#include "qcow2/write/writer.h"

namespace peelfs::qcow2 {

namespace {

/// Bytes of a table that are read and cached at once: 2048 entries, which at 64 KiB clusters map
/// 128 MiB of disk. Small enough that random reads over a huge disk do not read whole 2 MiB tables.
constexpr std::uint64_t kSliceSize = ClusterMap::kL1BlockSize;

/// Table blocks that one answer looks at. It bounds the time that map() of a huge empty disk takes;
/// at 64 KiB clusters an answer still covers up to 14 TiB of a hole.
constexpr unsigned kMaxBlocks = 16;

bool all_zero(Bytes bytes) {
  for (const std::byte byte : bytes) {
    if (byte != std::byte{0}) return false;
  }
  return true;
}

}  // namespace

/// The smallest thing that tables talk about: a cluster, a run of like subclusters, or all that a
/// missing L2 table would describe.
struct ClusterMap::Unit {
  ClusterKind kind = ClusterKind::unallocated;
  Defect defect = Defect::none;
  std::uint64_t length = 0;  ///< from the offset asked for to the unit's end
  std::uint64_t host = 0;
  std::uint32_t compressed_length = 0;
  std::uint64_t l1_entry = 0;
  L2Entry entry;
  std::uint64_t bitmap = 0;

  Unit with(Defect what) const {
    Unit copy = *this;
    copy.defect = what;
    return copy;
  }
  Unit as(ClusterKind what) const {
    Unit copy = *this;
    copy.kind = what;
    return copy;
  }
};

ClusterMap::ClusterMap(const BlockDevice& file, const Header& header, std::uint64_t data_size,
                       const Settings& settings, BlockCache& cache, std::uint64_t cache_owner)
    : file_(file),
      header_(header),
      data_size_(data_size),
      settings_(settings),
      cache_(cache),
      cache_owner_(cache_owner),
      l2_slice_size_(l2_block_size(header)) {}

const Buffer& ClusterMap::block(Table table, std::uint64_t offset, Cursor& cursor) const {
  Cursor::Place& place = cursor.places_.at(table == Table::l1 ? 0 : 1);
  if (place.block && place.offset == offset) return *place.block;
  ++cursor.blocks_;
  cursor.from_l1_ = table == Table::l1;
  const std::size_t length = table == Table::l1 ? kSliceSize : l2_slice_size_;
  if (settings_.writer != nullptr) {
    const auto kind = table == Table::l1 ? Tables::Kind::l1 : Tables::Kind::l2;
    place = {settings_.writer->tables().load(kind, offset, length), offset};
    return *place.block;
  }
  // Offsets are multiples of 512: the lowest bit is free to tell the tables' blocks apart, which
  // differ in length.
  const BlockCache::Key key{cache_owner_, offset | (table == Table::l1 ? 1U : 0U)};
  BlockCache::Block found = RecentBlocks::find(key);
  if (!found) {
    found = cache_.find(key);
    if (!found) {
      found = std::make_shared<const Buffer>(read_up_to(file_, offset, length));
      cache_.insert(key, found);
    }
    RecentBlocks::keep(key, found);
  }
  place = {std::move(found), offset};
  return *place.block;
}

std::uint64_t ClusterMap::file_end() const noexcept {
  return settings_.writer != nullptr ? settings_.writer->end() : file_.size();
}

std::uint64_t ClusterMap::data_end() const noexcept {
  return settings_.writer != nullptr && !header_.has_data_file() ? settings_.writer->end()
                                                                 : data_size_;
}

std::string_view ClusterMap::metadata_at(std::uint64_t begin, std::uint64_t end) const {
  for (const MetadataRange& range : header_.metadata) {
    if (begin < range.end && end > range.begin) return range.what;
  }
  if (begin < settings_.l1.end() && end > settings_.l1.offset) return "the snapshot's L1 table";
  return "";
}

ClusterMap::Unit ClusterMap::unit_at(std::uint64_t offset, std::uint64_t wanted,
                                     Cursor& cursor) const {
  const std::uint32_t reach_bits = header_.l2_reach_bits();
  const std::uint64_t reach = 1ULL << reach_bits;
  const std::uint64_t l1_index = offset >> reach_bits;
  Unit unit;
  const std::uint64_t to_next_table = reach - (offset & (reach - 1));
  unit.length = to_next_table;
  if (l1_index >= settings_.l1.entries) {
    unit.length = ~std::uint64_t{0} - offset;  // all that follows
    return settings_.short_l1_is_unallocated ? unit : unit.with(Defect::l1_too_short);
  }

  const std::uint64_t l1_block = round_down(l1_index * 8, kSliceSize);
  const Buffer& l1 = block(Table::l1, settings_.l1.offset + l1_block, cursor);
  const std::size_t l1_at = l1_index * 8 - l1_block;
  if (l1_at + 8 > l1.size()) {
    unit.length += (settings_.l1.entries - l1_index - 1) * reach;
    return unit.with(Defect::l1_truncated);
  }
  const L1Entry l1_entry{ByteReader(l1, "L1 table").be64(l1_at)};
  unit.l1_entry = l1_entry.raw;
  if (l1_entry.reserved() != 0) return unit.with(Defect::l1_reserved);
  const std::uint64_t l2_offset = l1_entry.l2_offset();
  if (l2_offset == 0) {
    // Tables of huge empty disks are walked many entries at a time.
    const std::size_t end = std::min(l1.size(), settings_.l1.entries * std::size_t{8} - l1_block);
    for (std::size_t next = l1_at + 8;
         unit.length < wanted && next + 8 <= end && all_zero(Bytes(l1).subspan(next, 8));
         next += 8) {
      unit.length += reach;
    }
    return unit;
  }
  if (l2_offset % header_.cluster_size() != 0) return unit.with(Defect::l2_unaligned);
  if (l2_offset >= file_end()) return unit.with(Defect::l2_outside);

  unit.length = header_.cluster_size() - (offset & (header_.cluster_size() - 1));
  const std::uint64_t l2_entries = header_.cluster_size() >> header_.l2_entry_bits();
  const std::uint64_t l2_byte = ((offset >> header_.cluster_bits()) & (l2_entries - 1))
                                << header_.l2_entry_bits();
  const std::uint64_t l2_slice = round_down(l2_byte, l2_slice_size_);
  const unsigned blocks_before = cursor.blocks_;
  const Buffer& l2 = block(Table::l2, l2_offset + l2_slice, cursor);
  if (cursor.blocks_ != blocks_before &&
      !metadata_at(l2_offset, l2_offset + header_.cluster_size()).empty()) {
    // Drops the slice from the cursor, so that the next entry in it is refused as well.
    cursor.places_.at(1).block.reset();
    unit.length = to_next_table;
    return unit.with(Defect::l2_on_metadata);
  }
  const std::size_t l2_at = l2_byte - l2_slice;
  const std::size_t entry_size = 1ULL << header_.l2_entry_bits();
  if (l2_at + entry_size > l2.size()) {
    unit.length = to_next_table;
    return unit.with(Defect::l2_truncated);
  }
  if (all_zero(Bytes(l2).subspan(l2_at, entry_size))) {
    for (std::size_t next = l2_at + entry_size;
         unit.length < wanted && next + entry_size <= l2.size() &&
         all_zero(Bytes(l2).subspan(next, entry_size));
         next += entry_size) {
      unit.length += header_.cluster_size();
    }
    return unit;
  }
  const ByteReader entries(l2, "L2 table");
  unit.entry = L2Entry{entries.be64(l2_at)};
  if (header_.extended_l2()) unit.bitmap = entries.be64(l2_at + 8);
  return cluster_unit(offset, unit);
}

ClusterMap::Unit ClusterMap::cluster_unit(std::uint64_t offset, const Unit& unit) const {
  const L2Entry entry = unit.entry;
  if (entry.compressed()) return compressed_unit(unit);
  const bool extended = header_.extended_l2();
  if (entry.reserved() != 0 || (extended && entry.zero())) return unit.with(Defect::l2_reserved);
  if (entry.zero() && header_.disk.version < 3) return unit.with(Defect::zero_in_version_2);

  const std::uint64_t within = offset & (header_.cluster_size() - 1);
  const std::uint64_t host = entry.host_offset();
  // With a data file clusters lie where the guest has them, so that offset 0 is an ordinary place.
  const bool placed = host != 0 || (header_.has_data_file() && entry.copied());
  if (placed) {
    if (host % header_.cluster_size() != 0) return unit.with(Defect::unaligned);
    if (header_.has_data_file() && host != offset - within) {
      return unit.with(Defect::data_file_mismatch);
    }
  }
  if (extended) return subcluster_unit(within, placed, unit);
  if (entry.zero()) return unit.as(ClusterKind::zero);
  if (!placed) return entry.copied() ? unit.with(Defect::copied_without_offset) : unit;
  return standard_unit(within, unit);
}

ClusterMap::Unit ClusterMap::standard_unit(std::uint64_t within, const Unit& unit) const {
  const std::uint64_t cluster = unit.entry.host_offset();
  if (!header_.has_data_file() && !metadata_at(cluster, cluster + header_.cluster_size()).empty()) {
    return unit.with(Defect::on_metadata);
  }
  // As 'qemu-img check' has it: a file may end in the middle of its last cluster, whose rest then
  // reads as zero, and a cluster that begins behind the end was cut off. Subclusters are parts of a
  // cluster here: all of them may be allocated where only the first was ever written.
  const std::uint64_t data_size = data_end();
  if (cluster >= data_size) return unit.with(Defect::outside);
  const std::uint64_t end = settings_.encrypted ? round_down(data_size, 512) : data_size;
  Unit standard = unit.as(ClusterKind::standard);
  standard.host = cluster + within;
  if (standard.host >= end) {
    return settings_.encrypted ? unit.with(Defect::outside) : unit.as(ClusterKind::zero);
  }
  standard.length = std::min(standard.length, end - standard.host);
  return standard;
}

ClusterMap::Unit ClusterMap::subcluster_unit(std::uint64_t within, bool placed, Unit unit) const {
  const SubclusterBitmap bitmap{unit.bitmap};
  if ((bitmap.allocated() & bitmap.zeroes()) != 0) return unit.with(Defect::subcluster_conflict);
  if (bitmap.allocated() != 0 && !placed) return unit.with(Defect::subcluster_without_cluster);

  const std::uint64_t size = header_.cluster_size() / kSubclustersPerCluster;
  const auto state = [&bitmap](std::uint64_t index) {
    return std::pair((bitmap.allocated() >> index) & 1U, (bitmap.zeroes() >> index) & 1U);
  };
  const std::uint64_t first = within / size;
  std::uint64_t end = first + 1;
  while (end < kSubclustersPerCluster && state(end) == state(first)) ++end;
  unit.length = end * size - within;
  const auto [allocated, zero] = state(first);
  if (zero != 0) return unit.as(ClusterKind::zero);
  return allocated != 0 ? standard_unit(within, unit) : unit;
}

ClusterMap::Unit ClusterMap::compressed_unit(const Unit& unit) const {
  if (header_.has_data_file()) return unit.with(Defect::compressed_in_data_file);
  const CompressedDescriptor descriptor = decode_compressed(unit.entry.raw, header_.cluster_bits());
  if ((descriptor.host_offset >> 56U) != 0 || unit.bitmap != 0) {
    return unit.with(Defect::compressed_reserved);
  }
  if (descriptor.host_offset >= file_end()) return unit.with(Defect::compressed_outside);
  if (!metadata_at(descriptor.host_offset, descriptor.host_offset + descriptor.length).empty()) {
    return unit.with(Defect::on_metadata);
  }
  Unit compressed = unit.as(ClusterKind::compressed);
  compressed.host = descriptor.host_offset;
  compressed.compressed_length = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(descriptor.length, file_end() - descriptor.host_offset));
  return compressed;
}

ClusterMap::EntryAt ClusterMap::entry_at(std::uint64_t offset) const {
  Cursor cursor;
  const Unit unit = unit_at(offset, 1, cursor);
  if (unit.defect != Defect::none) fail(unit, offset);
  return {unit.entry, SubclusterBitmap{unit.bitmap}};
}

GuestRun ClusterMap::run_at(std::uint64_t offset, std::uint64_t length, Cursor& cursor) const {
  cursor.blocks_ = 0;
  const Unit first = unit_at(offset, length, cursor);
  if (first.defect != Defect::none) fail(first, offset);
  return run_from(first, offset, length, cursor);
}

std::optional<GuestRun> ClusterMap::peek(std::uint64_t offset, std::uint64_t length,
                                         Cursor& cursor) const {
  cursor.blocks_ = 0;
  const std::optional<Unit> first = peek_unit(offset, length, cursor);
  if (!first || first->defect != Defect::none) return std::nullopt;
  return run_from(*first, offset, length, cursor);
}

std::uint64_t ClusterMap::missing(std::uint64_t offset, std::uint64_t length) const {
  Cursor cursor;
  std::uint64_t covered = 0;
  while (covered < length && cursor.blocks_ < kMaxBlocks) {
    const std::uint64_t unit = missing_unit(offset + covered, cursor);
    if (unit == 0) break;
    covered += std::min(unit, length - covered);
  }
  return covered;
}

/// @return the length of the unit at `offset` if it is missing, else 0
std::uint64_t ClusterMap::missing_unit(std::uint64_t offset, Cursor& cursor) const {
  try {
    const Unit unit = unit_at(offset, 1, cursor);
    return unit.defect != Defect::none ? unit.length : 0;
  } catch (const Error& error) {
    // A failure of the host, which may pass, says nothing about the image.
    const Fault fault = error.fault();
    if (fault != Fault::damaged && fault != Fault::missing && error.error_number() != EIO) return 0;
    // What one block describes: it is read as a whole or not at all.
    const std::uint64_t described = cursor.from_l1_ ? (kSliceSize / 8) << header_.l2_reach_bits()
                                                    : (l2_slice_size_ >> header_.l2_entry_bits())
                                                          << header_.cluster_bits();
    return described - offset % described;
  }
}

GuestRun ClusterMap::run_from(const Unit& first, std::uint64_t offset, std::uint64_t length,
                              Cursor& cursor) const {
  GuestRun run;
  run.kind = first.kind;
  run.length = std::min(first.length, length);
  run.host = first.host;
  run.copied = run.kind == ClusterKind::standard && first.entry.copied();
  if (run.kind == ClusterKind::compressed) {
    run.compressed_length = first.compressed_length;
    run.descriptor = first.entry.raw & (L2Entry::kCompressedBit - 1);
    return run;
  }
  while (run.length < length && cursor.blocks_ < kMaxBlocks) {
    const std::optional<Unit> next = peek_unit(offset + run.length, length - run.length, cursor);
    if (!next || next->defect != Defect::none || next->kind != run.kind) break;
    if (run.kind == ClusterKind::standard &&
        (next->host != run.host + run.length || next->entry.copied() != run.copied)) {
      break;
    }
    run.length += std::min(next->length, length - run.length);
  }
  return run;
}

std::optional<ClusterMap::Unit> ClusterMap::peek_unit(std::uint64_t offset, std::uint64_t wanted,
                                                      Cursor& cursor) const {
  // A table that cannot be read must not hide the bytes before it: a caller that asks for the bytes
  // behind gets the error then.
  try {
    return unit_at(offset, wanted, cursor);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void ClusterMap::fail(const Unit& unit, std::uint64_t offset) const {
  DefectPlace place;
  place.offset = offset;
  place.l1 = settings_.l1;
  place.l1_entry = L1Entry{unit.l1_entry};
  place.entry = unit.entry;
  place.bitmap = unit.bitmap;
  place.file_size = file_end();
  place.data_size = data_end();
  place.metadata = [this](std::uint64_t begin, std::uint64_t end) {
    return std::string(metadata_at(begin, end));
  };
  throw defect_error(unit.defect, place, header_);
}

}  // namespace peelfs::qcow2
