#include "qcow2/read/tables.h"

#include <algorithm>

#include "peelfs/io.h"
#include "peelfs/mutex.h"

namespace peelfs::qcow2 {

Tables::Block Tables::load(Kind kind, std::uint64_t offset, std::size_t length) const {
  const std::uint64_t key = key_of(kind, offset);
  {
    const ReaderLock lock(mutex_);
    if (const auto found = changed_.find(key); found != changed_.end()) return found->second;
  }
  const BlockCache::Key cached{owner_, key};
  if (Block found = cache_.find(cached)) return found;
  const std::uint64_t generation = generation_;
  Block block = std::make_shared<const Buffer>(read_up_to(file_, offset, length));
  const ReaderLock lock(mutex_);
  if (generation == generation_ && !changed_.contains(key)) cache_.insert(cached, block);
  return block;
}

void Tables::change(Kind kind, std::uint64_t offset, const Block& before,
                    std::span<const Change> changes) {
  const std::uint64_t key = key_of(kind, offset);
  // Readers may hold this block, so a copy of it is changed.
  auto after = std::make_shared<Buffer>(*before);
  for (const Change& change : changes) put_be(*after, change.at, change.value);
  const WriterLock lock(mutex_);
  const auto [place, added] = changed_.insert_or_assign(key, std::move(after));
  if (added) unwritten_bytes_ += place->second->size();
  if (kind != Kind::l1) return;
  for (const Change& change : changes) l1_entries_[offset + change.at] = change.value;
}

void Tables::begin_l2(std::uint64_t offset, Bytes bytes, std::size_t block_length) {
  const WriterLock lock(mutex_);
  for (std::size_t at = 0; at < bytes.size(); at += block_length) {
    const Bytes part = bytes.subspan(at, std::min(block_length, bytes.size() - at));
    const auto [place, added] = changed_.insert_or_assign(
        key_of(Kind::l2, offset + at), std::make_shared<Buffer>(part.begin(), part.end()));
    if (added) unwritten_bytes_ += part.size();
  }
}

Tables::Unwritten Tables::unwritten() const {
  const ReaderLock lock(mutex_);
  Unwritten result;
  for (const auto& [key, block] : changed_) {
    if ((key & 1U) == static_cast<std::uint64_t>(Kind::l2)) result.l2.emplace(key, block);
  }
  result.l1 = l1_entries_;
  return result;
}

void Tables::written(const Unwritten& what) {
  const WriterLock lock(mutex_);
  ++generation_;
  for (const auto& [offset, block] : what.l2) {
    const auto found = changed_.find(key_of(Kind::l2, offset));
    if (found == changed_.end() || found->second != block) continue;
    cache_.replace({owner_, found->first}, block);
    unwritten_bytes_ -= block->size();
    changed_.erase(found);
  }
  for (const auto& [offset, value] : what.l1) {
    const auto found = l1_entries_.find(offset);
    if (found != l1_entries_.end() && found->second == value) l1_entries_.erase(found);
  }
  // An L1 table's blocks stay where they are until all of its entries are written.
  if (!l1_entries_.empty()) return;
  for (auto at = changed_.begin(); at != changed_.end();) {
    if ((at->first & 1U) == static_cast<std::uint64_t>(Kind::l2)) {
      ++at;
      continue;
    }
    cache_.replace({owner_, at->first}, at->second);
    unwritten_bytes_ -= at->second->size();
    at = changed_.erase(at);
  }
}

}  // namespace peelfs::qcow2
