#include <algorithm>

#include "ext/read/node_cache.h"
#include "ext/write/writer.h"
#include "peelfs/mutex.h"

namespace peelfs::ext {

FileState::FileState(std::shared_ptr<const Volume> volume, const Inode& inode, Use use)
    : volume_(std::move(volume)),
      number_(inode.number),
      inode_(inode),
      size_(inode.size),
      allocated_(inode.allocated_bytes) {
  if (use == Use::writable) {
    map_ = make_map();
  } else {
    fixed_ = std::make_unique<const Fixed>(Fixed{size_, allocated_, make_map()});
  }
}

std::unique_ptr<const BlockMap> FileState::make_map() const {
  return inode_.has(kFlagExtents) ? make_extent_map(volume_, inode_)
                                  : make_indirect_map(volume_, inode_);
}

BlockRun FileState::find(std::uint64_t logical) const {
  const auto next = pending_.upper_bound(logical);
  if (next != pending_.begin()) {
    const auto& [begin, run] = *std::prev(next);
    if (logical - begin < run.blocks) {
      return {run.blocks - (logical - begin), run.physical + (logical - begin), std::nullopt};
    }
  }
  BlockRun run = map_->at(logical);
  if (next != pending_.end()) run.blocks = std::min(run.blocks, next->first - logical);
  return run;
}

FileState::Look FileState::look(std::uint64_t offset, std::uint64_t most) const {
  const std::uint64_t logical = offset / volume_->block_size();
  if (fixed_) {
    const std::uint64_t size = fixed_->size;
    if (size > most || offset >= size) return {size, std::nullopt};
    return {size, fixed_->map->at(logical)};
  }
  const ReaderLock lock(mutex_);
  if (size_ > most || offset >= size_) return {size_, std::nullopt};
  return {size_, find(logical)};
}

BlockRun FileState::at(std::uint64_t logical) const {
  if (fixed_) return fixed_->map->at(logical);
  const ReaderLock lock(mutex_);
  return find(logical);
}

std::uint64_t FileState::size() const {
  if (fixed_) return fixed_->size;
  const ReaderLock lock(mutex_);
  return size_;
}

std::uint64_t FileState::allocated_bytes() const {
  if (fixed_) return fixed_->allocated;
  const ReaderLock lock(mutex_);
  return allocated_;
}

std::shared_ptr<const void> FileState::rely_on(const std::string& by) {
  const WriterLock lock(mutex_);
  if (written_) {
    throw Error(Fault::denied, "the backing file has been written to as a file of its own")
        .advice("unmount, and do not write to a file that an image is based on")
        .with_errno(EBUSY);
  }
  if (!relied_on_) relied_on_by_ = by;
  relied_on_ = true;
  return std::make_shared<const std::string>(by);
}

std::string FileState::relied_on_by() const {
  const ReaderLock lock(mutex_);
  return relied_on_by_;
}

void FileState::about_to_write() {
  {
    const ReaderLock lock(mutex_);
    if (written_) return;
  }
  const WriterLock lock(mutex_);
  if (relied_on_) {
    throw Error(Fault::denied, "'" + printable(relied_on_by_) + "' is based on it")
        .advice("writing to a backing file changes every image that is based on it")
        .with_errno(EROFS);
  }
  written_ = true;
}

void FileState::note_stored(const Stored& stored) {
  const WriterLock lock(mutex_);
  if (!stored.in_place) add_pending(stored.logical, stored.physical, stored.blocks);
  if (stored.fresh) fresh_blocks_ += stored.blocks;
  if (stored.fresh) allocated_ += stored.blocks * volume_->block_size();
  size_ = std::max(size_, stored.end);
}

void FileState::note_inode(const RewrittenMap& map) {
  const WriterLock lock(mutex_);
  inode_.block = map.root;
  inode_.size = size_;
}

void FileState::note_commit() {
  const WriterLock lock(mutex_);
  pending_.clear();
  fresh_blocks_ = 0;
  pending_blocks_ = 0;
  leaves_.reset();
  forget_nodes(volume_->id(), number_);
  map_ = make_map();
}

void FileState::add_pending(std::uint64_t logical, std::uint64_t physical, std::uint64_t blocks) {
  pending_blocks_ += blocks;
  const auto next = pending_.upper_bound(logical);
  if (next != pending_.begin()) {
    auto& [begin, run] = *std::prev(next);
    if (begin + run.blocks == logical && run.physical + run.blocks == physical) {
      run.blocks += blocks;
      return;
    }
  }
  pending_.emplace(logical, Pending{blocks, physical});
}

}  // namespace peelfs::ext
