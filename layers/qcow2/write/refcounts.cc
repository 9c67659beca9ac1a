#include "qcow2/write/refcounts.h"

#include <algorithm>
#include <array>
#include <utility>

#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::qcow2 {

namespace {

/// Offsets in tables have 56 bits.
constexpr std::uint64_t kGreatestOffset = 1ULL << 55U;
/// What clean blocks may take of memory.
constexpr std::uint64_t kMostTableBytes = 8U << 20U;
constexpr std::size_t kKeptBytes = std::size_t{16} << 20U;

std::uint64_t count_at(Bytes block, std::uint32_t order, std::uint64_t index) {
  const ByteReader reader(block, "refcount block");
  switch (order) {
    case 6:
      return reader.be64(index * 8);
    case 5:
      return reader.be32(index * 4);
    case 4:
      return reader.be16(index * 2);
    case 3:
      return reader.u8(index);
    default: {
      // Narrow ones fill a byte from its least significant bit on.
      const std::uint64_t bits = 1ULL << order;
      const std::uint64_t at = index * bits;
      return (reader.u8(at / 8) >> (at % 8)) & ((1U << bits) - 1);
    }
  }
}

void put_count(MutableBytes block, std::uint32_t order, std::uint64_t index, std::uint64_t count) {
  switch (order) {
    case 6:
      return put_be(block, index * 8, count);
    case 5:
      return put_be(block, index * 4, static_cast<std::uint32_t>(count));
    case 4:
      return put_be(block, index * 2, static_cast<std::uint16_t>(count));
    case 3:
      block[index] = static_cast<std::byte>(count);
      return;
    default:
      break;
  }
  const std::uint64_t bits = 1ULL << order;
  const std::uint64_t at = index * bits;
  const auto mask = static_cast<std::uint8_t>(((1U << bits) - 1) << (at % 8));
  auto byte = static_cast<std::uint8_t>(block[at / 8]);
  byte = static_cast<std::uint8_t>((byte & ~mask) | ((count << (at % 8)) & mask));
  block[at / 8] = std::byte{byte};
}

/// Of free clusters that are remembered: a few MiB.
constexpr std::size_t kMostRuns = 65536;

Buffer table_bytes(const std::vector<std::uint64_t>& table, std::uint64_t first,
                   std::uint64_t count) {
  Buffer bytes(count * 8);
  for (std::uint64_t i = 0; i < count && first + i < table.size(); ++i) {
    put_be(bytes, i * 8, table[first + i]);
  }
  return bytes;
}

Error damaged(const std::string& what) {
  return Error(Fault::damaged, "qcow2 reference counts: " + what)
      .advice("nothing was written; 'qemu-img check' shows more, 'qemu-img check -r all' repairs");
}

}  // namespace

Refcounts::Refcounts(const BlockDevice& file, const Header& header, std::atomic<std::uint64_t>& end,
                     bool growable)
    : file_(file),
      cluster_bits_(header.cluster_bits()),
      order_(header.disk.refcount_order),
      block_bits_(header.cluster_bits() + 3 - header.disk.refcount_order),
      end_(end),
      growable_(growable),
      clusters_limit_(std::min(file.size(), kGreatestOffset) >> header.cluster_bits()),
      table_offset_(header.disk.refcount_table_offset),
      table_clusters_(header.disk.refcount_table_clusters) {
  const Buffer bytes =
      read_bytes(file, table_offset_, std::size_t{table_clusters_} << cluster_bits_);
  const ByteReader reader(bytes, "refcount table");
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    const std::uint64_t entry = reader.be64(at);
    if (entry % header.cluster_size() != 0 || entry >= end_) {
      throw damaged("a block lies at an impossible place")
          .found("entry " + hex(entry))
          .expected("a multiple of the cluster size, within the file");
    }
    table_.push_back(entry);
  }
}

std::uint64_t Refcounts::greatest() const noexcept {
  return order_ == 6 ? ~std::uint64_t{0} : (1ULL << (1U << order_)) - 1;
}

void Refcounts::trim() {
  const std::size_t most = std::max<std::size_t>(4, kKeptBytes >> cluster_bits_);
  for (auto at = blocks_.begin(); blocks_.size() > most && at != blocks_.end();) {
    at = dirty_.contains(at->first) ? std::next(at) : blocks_.erase(at);
  }
}

Refcounts::Block& Refcounts::block(std::uint64_t index) {
  if (const auto found = blocks_.find(index); found != blocks_.end()) return found->second;
  trim();
  Block loaded;
  loaded.bytes = read_bytes(file_, table_.at(index), std::size_t{1} << cluster_bits_);
  return blocks_.emplace(index, std::move(loaded)).first->second;
}

std::uint64_t Refcounts::get(std::uint64_t cluster) {
  const std::uint64_t index = index_of(cluster);
  if (index >= table_.size() || table_[index] == 0) return 0;
  return count_at(block(index).bytes, order_, cluster & ((1ULL << block_bits_) - 1));
}

/// The block with a cluster's count. From now on the block has space of its own.
Refcounts::Block& Refcounts::claimed_block(std::uint64_t cluster) {
  const std::uint64_t index = index_of(cluster);
  if (index >= table_.size() || table_[index] == 0) {
    throw damaged("a cluster in use has no count").found("cluster " + std::to_string(cluster));
  }
  Block& target = block(index);
  if (!has_space_.contains(index)) {
    write(file_, table_[index], target.bytes);
    has_space_.insert(index);
  }
  return target;
}

void Refcounts::set(std::uint64_t cluster, std::uint64_t count) {
  Block& target = claimed_block(cluster);
  put_count(target.bytes, order_, cluster & ((1ULL << block_bits_) - 1), count);
  ++target.version;
  dirty_.insert(index_of(cluster));
}

void Refcounts::increment(std::uint64_t cluster) {
  const std::uint64_t count = get(cluster);
  if (count >= greatest()) {
    throw Error(Fault::unsupported, "a reference count of the image cannot become greater")
        .found(std::to_string(count) + " references of " + std::to_string(1U << order_) + " bits")
        .advice("qemu-img amend -o refcount_bits=16 makes room")
        .with_errno(ENOSPC);
  }
  set(cluster, count + 1);
}

void Refcounts::decrement(std::uint64_t cluster) {
  const std::uint64_t count = get(cluster);
  if (count == 0) {
    throw damaged("a cluster that was in use counts as free")
        .found("count 0 of cluster " + std::to_string(cluster));
  }
  set(cluster, count - 1);
  if (count != 1 || cluster >= scanned_) return;
  freed_.add(cluster);
  if (freed_.runs() > kMostRuns) scanned_ = freed_.drop_highest();
}

void Refcounts::decrement_range(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t last = (offset + length - 1) >> cluster_bits_;
  for (std::uint64_t cluster = offset >> cluster_bits_; cluster <= last; ++cluster) {
    decrement(cluster);
  }
}

void Refcounts::check_room(std::uint64_t cluster) const {
  if (cluster < clusters_limit_) return;
  throw Error(Fault::io, "the image has no room for another cluster")
      .found(std::to_string(clusters_limit_) + " clusters, all in use")
      .advice(growable_ ? "the image has reached the greatest size of its format"
                        : "what the image lies on cannot grow: move it to a file, or enlarge that")
      .with_errno(ENOSPC);
}

void Refcounts::reserve(std::uint64_t cluster, std::uint64_t count) const {
  const Buffer zeroes(std::size_t{1} << cluster_bits_);
  for (std::uint64_t i = 0; i < count; ++i) write(file_, (cluster + i) << cluster_bits_, zeroes);
}

Refcounts::Block& Refcounts::new_block(std::uint64_t index, std::uint64_t cluster) {
  has_space_.insert(index);
  Block fresh;
  fresh.bytes.resize(std::size_t{1} << cluster_bits_);
  table_.at(index) = cluster << cluster_bits_;
  new_entries_.insert(index);
  dirty_.insert(index);
  end_ = std::max(end_.load(), (cluster + 1) << cluster_bits_);
  return blocks_.insert_or_assign(index, std::move(fresh)).first->second;
}

void Refcounts::grow_table() {
  // Everything that the table covers is in use: the new one, and the blocks that count it, lie
  // behind.
  const std::uint64_t first = std::uint64_t{table_.size()} << block_bits_;
  const std::uint64_t per_cluster = (1ULL << cluster_bits_) / 8;
  // qemu's limit and ours: neither would open an image with a larger table again.
  const std::uint64_t most = std::max<std::uint64_t>(kMostTableBytes >> cluster_bits_, 1);
  if (table_clusters_ >= most) {
    throw Error(Fault::io, "the image has no room for another cluster")
        .found("a refcount table of " + std::to_string(table_clusters_) + " clusters")
        .advice(
            "larger clusters or narrower counts hold more: qemu-img convert -o cluster_size=...")
        .with_errno(ENOSPC);
  }
  const std::uint64_t clusters = std::min<std::uint64_t>(2 * std::uint64_t{table_clusters_}, most);
  std::uint64_t blocks = 1;
  while (blocks << block_bits_ < clusters + blocks) ++blocks;
  check_room(first + blocks + clusters - 1);
  reserve(first, blocks + clusters);
  table_has_space_ = true;
  const std::uint64_t old_blocks = table_.size();
  old_tables_.push_back({table_offset_, table_clusters_, false});
  table_.resize(clusters * per_cluster);
  for (std::uint64_t i = 0; i < blocks; ++i) new_block(old_blocks + i, first + i);
  table_offset_ = (first + blocks) << cluster_bits_;
  table_clusters_ = static_cast<std::uint32_t>(clusters);
  moved_ = true;
  for (std::uint64_t i = 0; i < blocks + clusters; ++i) set(first + i, 1);
  end_ = std::max(end_.load(), (first + blocks + clusters) << cluster_bits_);
}

/// The first free cluster at or behind `cluster` in its block, or the first one behind that block.
std::uint64_t Refcounts::skip_used(std::uint64_t cluster) {
  const Buffer& counts = block(index_of(cluster)).bytes;
  const std::uint64_t mask = (1ULL << block_bits_) - 1;
  do {
    if (count_at(counts, order_, cluster & mask) == 0) return cluster;
    ++cluster;
  } while ((cluster & mask) != 0);
  return cluster;
}

void Refcounts::scan() {
  for (;;) {
    check_room(scanned_);
    const std::uint64_t index = index_of(scanned_);
    if (index >= table_.size()) {
      grow_table();
      continue;
    }
    if (table_[index] == 0) {
      if (!table_has_space_) {
        write(file_, table_offset_, table_bytes(table_, 0, table_.size()));
        table_has_space_ = true;
      }
      reserve(scanned_, 1);
      // A block counts the cluster that it lies in itself.
      new_block(index, scanned_);
      set(scanned_, 1);
      continue;
    }
    scanned_ = skip_used(scanned_);
    if (index_of(scanned_) != index) continue;
    return check_room(scanned_);
  }
}

ClusterRun Refcounts::allocate(std::uint64_t count) {
  std::uint64_t first = 0;
  std::uint64_t found = 1;
  if (!freed_.empty()) {
    const FreeRuns::Run run = freed_.lowest();
    first = run.first;
    found = std::min(count, run.count);
  } else {
    scan();
    first = scanned_;
    while (found < count && first + found < clusters_limit_) {
      const std::uint64_t index = index_of(first + found);
      if (index >= table_.size() || table_[index] == 0 || get(first + found) != 0) break;
      ++found;
    }
  }
  // All of them or none: counts of a part would be left behind.
  claim(first << cluster_bits_, found << cluster_bits_);
  for (std::uint64_t i = 0; i < found; ++i) set(first + i, 1);
  if (freed_.empty()) {
    scanned_ = first + found;
  } else {
    freed_.take(found);
  }
  const std::uint64_t offset = first << cluster_bits_;
  const std::uint64_t end = end_;
  const bool fresh = growable_ && offset >= end;
  end_ = std::max(end, (first + found) << cluster_bits_);
  return {offset, found, fresh};
}

std::uint64_t Refcounts::allocate_together(std::uint64_t count) {
  std::vector<ClusterRun> small;  // runs that are too short, given back once a long one is found
  for (;;) {
    const ClusterRun run = allocate(count);
    if (run.count == count) {
      for (const ClusterRun& one : small) decrement_range(one.offset, one.count << cluster_bits_);
      return run.offset;
    }
    small.push_back(run);
  }
}

std::uint64_t Refcounts::allocate_table() {
  const std::uint64_t offset = allocate(1).offset;
  try {
    reserve(offset >> cluster_bits_, 1);
  } catch (...) {
    decrement(offset >> cluster_bits_);
    throw;
  }
  return offset;
}

Refcounts::Unwritten Refcounts::unwritten() const {
  Unwritten result;
  for (const std::uint64_t index : dirty_) {
    const Block& dirty = blocks_.at(index);
    result.blocks.push_back({table_.at(index), dirty.bytes});
    result.versions[index] = dirty.version;
  }
  result.moved = moved_;
  result.table_offset = table_offset_;
  result.table_clusters = table_clusters_;
  if (moved_) {
    result.table.push_back({table_offset_, table_bytes(table_, 0, table_.size())});
  } else {
    for (const std::uint64_t index : new_entries_) {
      result.table.push_back({table_offset_ + index * 8, table_bytes(table_, index, 1)});
    }
  }
  return result;
}

void Refcounts::written(const Unwritten& what) {
  for (const auto& [index, version] : what.versions) {
    if (blocks_.at(index).version == version) dirty_.erase(index);
    new_entries_.erase(index);
  }
  if (!what.moved || what.table_offset != table_offset_) return;
  moved_ = false;
  // The header refers to the new table, durably: the old ones are free.
  for (const ClusterRun& old : std::exchange(old_tables_, {})) {
    decrement_range(old.offset, old.count << cluster_bits_);
  }
}

void Refcounts::claim(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = offset + length;
  for (std::uint64_t at = offset; at < end;) {
    const std::uint64_t cluster = at >> cluster_bits_;
    claimed_block(cluster);
    at = ((index_of(cluster) + 1) << block_bits_) << cluster_bits_;
  }
}

void Refcounts::claim_old_tables() {
  for (const ClusterRun& old : old_tables_) claim(old.offset, old.count << cluster_bits_);
}

void write_counts(const BlockDevice& file, const Refcounts::Unwritten& what) {
  for (const auto& block : what.blocks) write(file, block.offset, block.bytes);
  if (what.table.empty()) return;
  file.flush();
  for (const auto& part : what.table) write(file, part.offset, part.bytes);
  if (!what.moved) return;
  file.flush();
  std::array<std::byte, 12> place{};
  put_be(place, 0, what.table_offset);
  put_be(place, 8, what.table_clusters);
  write(file, 48, place);
}

}  // namespace peelfs::qcow2
