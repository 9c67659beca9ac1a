#include "qcow2/write/writer.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <utility>

#include "engine/epoch.h"
#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/mutex.h"
#include "qcow2/read/cluster_map.h"

namespace peelfs::qcow2 {

namespace {

/// How much of tables and counts may be unwritten. Reaching it costs a few flushes of the host.
constexpr std::size_t kMostUnwritten = std::size_t{16} << 20U;
/// How many bytes may be given up before a flush makes them usable again: bounds the growth of an
/// image that is rewritten and discarded without a flush.
constexpr std::uint64_t kMostGivenUp = 64U << 20U;
constexpr std::size_t kMostGivenUpRanges = 16384;
/// How long a flush waits for requests that may know of clusters that it wants to free. It only
/// delays their reuse when it gives up.
constexpr std::chrono::milliseconds kPatience{20};

}  // namespace

Writer::Writer(const BlockDevice& file, const BlockDevice& data, const Header& header,
               std::uint64_t end, bool growable, BlockCache& cache, std::uint64_t cache_owner)
    : file_(file),
      data_(data),
      header_(header),
      end_(end),
      l2_block_(ClusterMap::l2_block_size(header)),
      tables_(file, cache, cache_owner),
      refcounts_(file, header, end_, growable) {}

void Writer::at_first_write(std::function<void()> first) {
  const MutexLock lock(touching_);
  first_ = std::move(first);
}

void Writer::touch() {
  if (touched_) return;
  const MutexLock lock(touching_);
  if (gave_way_) {
    throw Error(Fault::denied, "the image can only be read").found(reason_).with_errno(EROFS);
  }
  if (first_) first_();
  first_ = nullptr;
  touched_ = true;
}

bool Writer::give_way(const std::string& reason) {
  const MutexLock lock(touching_);
  if (touched_) return false;
  if (!gave_way_) reason_ = reason;
  gave_way_ = true;
  return true;
}

std::string Writer::gave_way() const {
  if (!gave_way_) return {};
  const MutexLock lock(touching_);
  return reason_;
}

ClusterRun Writer::allocate(std::uint64_t count) {
  const MutexLock lock(mutex_);
  return refcounts_.allocate(count);
}

void Writer::count_down(std::uint64_t offset, std::uint64_t length) noexcept {
  try {
    const MutexLock lock(mutex_);
    refcounts_.decrement_range(offset, length);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): they leak, which harms nobody
  }
}

/// Writes what the disk has of a table that is about to be changed in memory, once: in a sparse
/// image, or one that lies in another, its place may have no space, and the flush comes too late to
/// find that out.
void Writer::give_space(std::uint64_t offset, std::uint64_t length) {
  if (has_space_.contains(offset)) return;
  claim_space(file_, offset, length);
  has_space_.insert(offset);
}

/// The L2 table for an entry of the active L1 table: made, or made our own where a snapshot shares
/// it.
std::uint64_t Writer::own_l2(std::uint64_t l1_index) {
  const std::uint64_t block_at = round_down(l1_index * 8, ClusterMap::kL1BlockSize);
  const std::uint64_t l1_block = header_.l1().offset + block_at;
  const std::size_t at = l1_index * 8 - block_at;
  const Tables::Block l1 = tables_.load(Tables::Kind::l1, l1_block, ClusterMap::kL1BlockSize);
  const L1Entry entry{ByteReader(*l1, "L1 table").be64(at)};
  const std::uint64_t before = entry.l2_offset();
  if (before != 0 && (entry.raw & L2Entry::kCopiedBit) != 0) {
    give_space(before, header_.cluster_size());
    return before;
  }
  give_space(l1_block, std::min<std::uint64_t>(ClusterMap::kL1BlockSize,
                                               header_.l1().entries * 8 - block_at));

  Buffer table(header_.cluster_size());
  if (before != 0) {
    for (std::size_t part = 0; part < table.size(); part += l2_block_) {
      const Tables::Block block = tables_.load(Tables::Kind::l2, before + part, l2_block_);
      std::copy(block->begin(), block->end(), table.begin() + static_cast<std::ptrdiff_t>(part));
    }
  }
  if (before != 0) refcounts_.claim(before, header_.cluster_size());
  const std::uint64_t offset = refcounts_.allocate_table();
  has_space_.insert(offset);
  tables_.begin_l2(offset, table, l2_block_);
  const Tables::Change change{at, offset | L2Entry::kCopiedBit};
  tables_.change(Tables::Kind::l1, l1_block, l1, {&change, 1});
  if (before != 0) {
    given_up_.push_back({{before, header_.cluster_size(), false}, Epochs::process().now()});
  }
  return offset;
}

Writer::Place Writer::place_of(const Entry& entry) const noexcept {
  const std::uint64_t at = (entry.guest_cluster % l2_entries()) << header_.l2_entry_bits();
  const std::uint64_t block = round_down(at, l2_block_);
  return {entry.guest_cluster / l2_entries(), block, at - block};
}

void Writer::publish(const std::vector<Entry>& entries, const std::vector<Freed>& freed) {
  const MutexLock lock(mutex_);
  // Everything that can fail comes first.
  std::map<std::uint64_t, std::uint64_t> l2;
  std::map<std::uint64_t, Tables::Block> blocks;  // by offset; held, so that nothing is read below
  for (const Entry& entry : entries) {
    const Place place = place_of(entry);
    const auto [table, added] = l2.try_emplace(place.l1_index, 0);
    if (added) table->second = own_l2(place.l1_index);
    const std::uint64_t offset = table->second + place.block;
    if (Tables::Block& block = blocks[offset]; !block) {
      block = tables_.load(Tables::Kind::l2, offset, l2_block_);
    }
  }
  for (const Freed& range : freed) refcounts_.claim(range.offset, range.length);
  given_up_.reserve(given_up_.size() + freed.size());
  std::vector<Tables::Change> changes;
  for (std::size_t first = 0, next = 0; first < entries.size(); first = next) {
    const Place begin = place_of(entries[first]);
    changes.clear();
    for (next = first; next < entries.size(); ++next) {
      const Place place = place_of(entries[next]);
      if (place.l1_index != begin.l1_index || place.block != begin.block) break;
      changes.push_back({place.at, entries[next].entry.raw});
      if (header_.extended_l2()) changes.push_back({place.at + 8, entries[next].bitmap.raw});
    }
    const std::uint64_t offset = l2.at(begin.l1_index) + begin.block;
    tables_.change(Tables::Kind::l2, offset, blocks.at(offset), changes);
  }
  const std::uint64_t epoch = Epochs::process().now();
  for (const Freed& range : freed) given_up_.push_back({range, epoch});
}

void Writer::release(std::vector<Given> given, bool wait_for_requests) {
  waiting_.insert(waiting_.end(), std::make_move_iterator(given.begin()),
                  std::make_move_iterator(given.end()));
  if (waiting_.empty()) return;
  Epochs& epochs = Epochs::process();
  const std::uint64_t last = waiting_.back().epoch;
  if (wait_for_requests) epochs.wait(last, kPatience);
  while (!waiting_.empty() && epochs.passed(waiting_.front().epoch)) {
    // Taken off the list first: if a step below fails, no cluster may be counted down twice.
    Freed range = take_waiting();
    if (range.punch) {
      // Neighbours are punched together.
      while (!waiting_.empty() && waiting_.front().range.punch &&
             waiting_.front().range.offset == range.offset + range.length &&
             epochs.passed(waiting_.front().epoch) && is_last(waiting_.front().range)) {
        range.length += take_waiting().length;
      }
      // The last reference: no writer can take the clusters before their count is 0.
      try {
        zero(file_, range.offset, range.length, WriteKind::discard);
      } catch (const Error&) {  // NOLINT(bugprone-empty-catch): their space stays taken
      }
    }
    const MutexLock lock(mutex_);
    refcounts_.decrement_range(range.offset, range.length);
  }
}

bool Writer::is_last(const Freed& range) {
  const MutexLock lock(mutex_);
  return range.punch && refcounts_.get(range.offset >> header_.cluster_bits()) == 1;
}

/// @return the first of waiting_, to be punched only if nothing else refers to it
Writer::Freed Writer::take_waiting() {
  Freed range = waiting_.front().range;
  waiting_.pop_front();
  range.punch = is_last(range);
  return range;
}

void Writer::flush_locked(bool wait_for_requests) {
  // Copies the tables before the counts: every reference in the copy of the tables is counted in
  // the copy of the counts.
  std::vector<Given> given;
  Tables::Unwritten tables;
  Refcounts::Unwritten counts;
  {
    const MutexLock lock(mutex_);
    given = std::exchange(given_up_, {});
    tables = tables_.unwritten();
    counts = refcounts_.unwritten();
  }
  try {
    write_counts(file_, counts);
    if (&data_ != &file_) data_.flush();
    file_.flush();
    {
      const MutexLock lock(mutex_);
      refcounts_.written(counts);
    }
    for (const auto& [offset, block] : tables.l2) write(file_, offset, *block);
    if (!tables.l1.empty()) {
      file_.flush();
      for (const auto& [offset, value] : tables.l1) {
        std::array<std::byte, 8> entry{};
        put_be(entry, 0, value);
        write(file_, offset, entry);
      }
    }
    if (!tables.l2.empty() || !tables.l1.empty()) file_.flush();
  } catch (...) {
    const MutexLock lock(mutex_);
    given_up_.insert(given_up_.begin(), given.begin(), given.end());
    throw;
  }
  tables_.written(tables);
  release(std::move(given), wait_for_requests);
  // Counts that went down may reach the disk whenever they like; the next flush makes them durable.
  {
    const MutexLock lock(mutex_);
    counts = refcounts_.unwritten();
  }
  write_counts(file_, counts);
  if (!counts.table.empty()) file_.flush();
  const MutexLock lock(mutex_);
  refcounts_.written(counts);
}

void Writer::flush() {
  const MutexLock flushing(flushing_);
  flush_locked(!Epochs::Request::active());
}

bool Writer::too_much_unwritten() {
  const MutexLock lock(mutex_);
  return tables_.unwritten_bytes() + (refcounts_.unwritten_blocks() << header_.cluster_bits()) >=
             kMostUnwritten ||
         given_up_.size() << header_.cluster_bits() >= kMostGivenUp ||
         given_up_.size() >= kMostGivenUpRanges;
}

bool Writer::too_much_given_up() {
  const MutexLock lock(mutex_);
  return given_up_.size() >= kMostGivenUpRanges;
}

void Writer::limit_memory() {
  if (!too_much_unwritten()) return;
  // A thread that is flushing already may be waiting for this very request to end.
  if (flushing_.try_lock()) {
    const MutexLock flushing(flushing_, std::adopt_lock);
    return flush_locked(false);
  }
  // The flush waits for requests only for a short time, so this request may wait for it. Otherwise
  // a writer that gives up clusters faster than they are released would never let a flush end.
  if (too_much_given_up()) const MutexLock flushing(flushing_);
}

}  // namespace peelfs::qcow2
