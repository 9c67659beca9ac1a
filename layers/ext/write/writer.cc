#include "ext/write/writer.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

#include "ext/read/node_cache.h"
#include "ext/write/write_policy.h"
#include "peelfs/io.h"
#include "peelfs/mutex.h"

namespace peelfs::ext {

namespace {

constexpr std::uint64_t kMostAtOnce = std::uint64_t{1} << 20U;  // bytes in one buffer
constexpr std::uint64_t kMostAhead = std::uint64_t{16} << 20U;  // bytes taken for a growing file
constexpr std::size_t kMostPending = 4096;                      // runs
constexpr std::uint64_t kSector = 512;                          // what a disk writes as a whole

/// All writers, by their devices. A writer keeps its device alive, so no other device can have the
/// same key while the writer lives.
struct Registry {
  Mutex mutex;
  std::map<const BlockDevice*, std::weak_ptr<Writer>> writers PEELFS_GUARDED_BY(mutex);
};
Registry& registry() {
  static Registry one;
  return one;
}

}  // namespace

std::shared_ptr<Writer> Writer::of(const std::shared_ptr<const Volume>& volume) {
  std::shared_ptr<Writer> former;  // if it is the last reference, it ends behind the lock
  Registry& all = registry();
  const MutexLock lock(all.mutex);
  std::weak_ptr<Writer>& known = all.writers[&volume->device()];
  former = known.lock();
  if (former && former->volume_ == volume) return former;
  // The device has been opened again: it may have been written to as a whole since, so the bitmaps
  // and maps of the former writer may be out of date.
  if (former) former->retire();
  auto writer = std::make_shared<Writer>(volume);
  known = writer;
  return writer;
}

namespace {

Error outdated() {
  return Error(Fault::io, "the filesystem was opened again, and this file is of before")
      .with_errno(ESTALE);
}

}  // namespace

void Writer::check_in_place(std::uint64_t offset, std::uint64_t length) {
  if (retired_) throw outdated();
  std::call_once(zone_known_, [&] { zone_ = std::make_unique<const SystemZone>(*volume_); });
  zone_->check(offset, length);
}

void Writer::retire() {
  retired_ = true;
  const MutexLock lock(mutex_);
  poison_ = std::make_unique<Error>(outdated());
}

bool Writer::is_at_work() {
  const MutexLock lock(mutex_);
  return !valid_;
}

// Writes nothing: the device may have been written to by others meanwhile. Callers flush before
// they drop the writer; changes that are not flushed are lost, as in a power cut.
Writer::~Writer() {
  Registry& all = registry();
  const MutexLock lock(all.mutex);
  const auto mine = all.writers.find(&volume_->device());
  if (mine != all.writers.end() && mine->second.expired()) all.writers.erase(mine);
}

std::shared_ptr<FileState> Writer::file(const Inode& inode) {
  const MutexLock lock(files_mutex_);
  std::weak_ptr<FileState>& known = files_[inode.number];
  std::shared_ptr<FileState> state = known.lock();
  if (!state) {
    state = std::make_shared<FileState>(volume_, inode, FileState::Use::writable);
    known = state;
  }
  return state;
}

void Writer::check() const {
  if (poison_) throw Error(*poison_);
}

void Writer::begin() {
  if (!allocator_) {
    if (const std::string why = why_no_allocation(*volume_); !why.empty()) {
      throw Error(Fault::denied, "no space is allocated for the file here, and none can be")
          .found(why)
          .advice("what is stored already can be overwritten; an overlay (--overlay DIR) takes all")
          .with_errno(ENOSPC);
    }
    allocator_ = std::make_unique<Allocator>(volume_);
  }
  if (valid_) set_valid(false);
}

void Writer::set_valid(bool valid) {
  allocator_->write_super(valid);
  volume_->device().flush();
  valid_ = valid;
}

void Writer::store(const std::shared_ptr<FileState>& file, std::uint64_t offset, Bytes data) {
  const MutexLock lock(mutex_);
  file->read_by_writer();
  check();
  begin();
  if (!file->inode_has_space_) {
    claim_space(volume_->device(), allocator_->inode_offset(file->number_),
                volume_->super().inode_size);
    file->inode_has_space_ = true;
  }
  dirty_.insert(file);
  const std::uint64_t end = offset + data.size();
  if (file->size_ % volume_->block_size() != 0 && end > file->size_) zero_behind_end(*file, offset);
  // A file grows by whole sectors. If it ended within one, the next write to that sector would be
  // in place up to the end, and durable with the inode behind it: a power cut could tear it.
  Buffer padded;
  const std::uint64_t whole = round_up(end, kSector);
  if (end > file->size_ && whole != end && whole <= greatest_size(*volume_, file->inode_)) {
    padded.assign(data.begin(), data.end());
    padded.resize(whole - offset);
    data = padded;
  }
  while (!data.empty()) {
    const std::size_t before = data.size();
    store_part(*file, offset, data);
    offset += before - data.size();
    if (file->pending_.size() > kMostPending) {
      commit();
      dirty_.insert(file);
    }
  }
}

/// Bytes of the last block behind the end of the file become a part of the file when it grows:
/// makes them zero.
void Writer::zero_behind_end(const FileState& file, std::uint64_t offset) {
  file.read_by_writer();
  const std::uint64_t block_size = volume_->block_size();
  const BlockRun run = file.at(file.size_ / block_size);
  const std::uint64_t end = std::min(offset, round_up(file.size_, block_size));
  if (!run.physical || end <= file.size_) return;
  write(volume_->device(), *run.physical * block_size + file.size_ % block_size,
        Buffer(end - file.size_));
}

void Writer::store_part(FileState& file, std::uint64_t offset, Bytes& data) {
  file.read_by_writer();
  const std::uint64_t block_size = volume_->block_size();
  const std::uint64_t logical = offset / block_size, within = offset % block_size;
  const std::uint64_t wanted =
      div_round_up(within + std::min<std::uint64_t>(data.size(), kMostAtOnce - within), block_size);
  const BlockRun run = file.at(logical);
  const bool behind_end = logical * block_size >= round_up(file.size_, block_size);
  std::uint64_t blocks = std::min(run.blocks, wanted), physical = 0;
  const bool in_place = run.physical && !behind_end;
  bool fresh = false;
  if (!in_place) reserve_nodes(file, blocks);
  if (in_place) {
    physical = *run.physical;
    // Blocks behind the end hold nothing of the file, even where the map has them as written.
    blocks = std::min(blocks, div_round_up(file.size_, block_size) - logical);
  } else if (run.physical || run.unwritten) {
    physical = run.physical ? *run.physical : *run.unwritten;
  } else {
    const Allocator::Run taken = take(file, logical, blocks);
    physical = taken.first;
    blocks = taken.count;
    fresh = true;
  }
  const std::uint64_t length = std::min<std::uint64_t>(data.size(), blocks * block_size - within);
  try {
    check_in_place(physical * block_size, within + length);
    if (in_place) {
      write(volume_->device(), physical * block_size + within, data.first(length));
    } else {
      blocks = div_round_up(within + length, block_size);
      Buffer whole(blocks * block_size);
      std::memcpy(whole.data() + within, data.data(), length);
      write(volume_->device(), physical * block_size, whole);
    }
  } catch (...) {
    if (fresh) allocator_->give_back({physical, blocks});
    throw;
  }
  file.note_stored({logical, physical, blocks, in_place, fresh, offset + length});
  data = data.subspan(length);
}

/// Takes blocks that follow those that the file has; ahead of need where it grows.
Allocator::Run Writer::take(FileState& file, std::uint64_t logical, std::uint64_t wanted) {
  file.read_by_writer();
  Kept& kept = kept_[file.number_];
  if (kept.run.count == 0 || kept.logical != logical) {
    if (kept.run.count != 0) allocator_->give_back(std::exchange(kept.run, {}));
    if (allocator_->available() < wanted + node_reserve()) release_kept();
    if (allocator_->available() < wanted + node_reserve()) {
      throw Error(Fault::denied, "the filesystem that holds the file is full")
          .found(std::to_string(allocator_->available()) + " free blocks")
          .with_errno(ENOSPC);
    }
    std::uint64_t goal = 0;
    if (logical != 0) {
      const BlockRun before = file.at(logical - 1);
      if (before.physical) goal = *before.physical + 1;
    }
    if (goal == 0) goal = allocator_->inode_offset(file.number_) / volume_->block_size();
    std::uint64_t most = wanted;
    if ((logical + wanted) * volume_->block_size() > file.size_) {
      const std::uint64_t spare = allocator_->available() - wanted - node_reserve();
      most += std::min(kMostAhead / volume_->block_size(), spare / 2);
    }
    kept.run = allocator_->take(goal, most);
  }
  const Allocator::Run taken{kept.run.first, std::min(wanted, kept.run.count)};
  kept.run = {taken.first + taken.count, kept.run.count - taken.count};
  kept.logical = logical + taken.count;
  return taken;
}

void Writer::release_kept() {
  for (auto& [number, kept] : kept_) {
    if (kept.run.count != 0) allocator_->give_back(std::exchange(kept.run, {}));
  }
}

/// Blocks that the maps of what is pending may come to need.
std::uint64_t Writer::node_reserve() const {
  std::uint64_t blocks = 0;
  for (const std::shared_ptr<FileState>& file : dirty_) {
    file->read_by_writer();
    blocks += 16 + 2 * file->pending_.size() + file->fresh_blocks_ / (volume_->block_size() / 4);
  }
  return blocks - std::min<std::uint64_t>(blocks, nodes_.size());
}

/// Of the map of one file, with what is pending and more.
std::uint64_t Writer::most_nodes(FileState& file, std::uint64_t more_runs,
                                 std::uint64_t more_blocks) const {
  file.read_by_writer();
  const std::uint64_t runs = file.pending_.size() + more_runs;
  const std::uint64_t blocks = file.pending_blocks_ + more_blocks;
  if (runs == 0) return 0;
  if (!file.inode_.has(kFlagExtents)) {
    return most_new_indirect_blocks(volume_->block_size(), runs, blocks);
  }
  if (!file.leaves_) file.leaves_ = count_leaves(*volume_, file.inode_);
  return most_new_extent_nodes(volume_->block_size(), *file.leaves_, runs, blocks);
}

/// Called before a run of one file becomes pending: takes the blocks for all nodes that a flush
/// will write.
void Writer::reserve_nodes(FileState& file, std::uint64_t blocks) {
  std::uint64_t needed = 0;
  for (const std::shared_ptr<FileState>& one : dirty_) {
    const bool grows = one.get() == &file;
    needed += most_nodes(*one, grows ? 1 : 0, grows ? blocks : 0);
  }
  make_nodes(needed);
}

/// @throws Error with ENOSPC, and keeps those that there are
void Writer::make_nodes(std::uint64_t count) {
  const std::uint64_t block_size = volume_->block_size();
  if (nodes_.size() < count && allocator_->available() < count - nodes_.size()) release_kept();
  while (nodes_.size() < count) {
    const std::uint64_t most =
        std::min<std::uint64_t>(count - nodes_.size(), kMostAtOnce / block_size);
    const Allocator::Run run = allocator_->take(0, most);
    try {
      claim_space(volume_->device(), run.first * block_size, run.count * block_size);
    } catch (...) {
      allocator_->give_back(run);
      throw;
    }
    for (std::uint64_t i = 0; i < run.count; ++i) nodes_.push_back(run.first + i);
  }
}

void Writer::flush() {
  const MutexLock lock(mutex_);
  check();
  if (!dirty_.empty()) commit();
  if (!valid_) {
    finish();
  } else {
    volume_->device().flush();
  }
}

RewrittenMap Writer::rewrite(FileState& file) {
  file.read_by_writer();
  std::vector<WrittenRun> runs;
  for (const auto& [logical, run] : file.pending_) {
    runs.push_back({logical, run.blocks, run.physical});
  }
  std::vector<std::uint64_t> taken;
  const TakeBlock take = [&]() PEELFS_REQUIRES(mutex_) {
    make_nodes(1);
    taken.push_back(nodes_.back());
    nodes_.pop_back();
    return taken.back();
  };
  try {
    if (runs.empty()) return {.root = file.inode_.block, .added = {}, .freed = {}, .late = {}};
    return file.inode_.has(kFlagExtents) ? rewrite_extents(*volume_, file.inode_, runs, take)
                                         : rewrite_indirect(*volume_, file.inode_, runs, take);
  } catch (...) {
    nodes_.insert(nodes_.end(), taken.begin(), taken.end());
    throw;
  }
}

void Writer::commit() {
  begin();
  std::vector<std::pair<std::shared_ptr<FileState>, RewrittenMap>> maps;
  try {
    for (const std::shared_ptr<FileState>& file : dirty_) maps.emplace_back(file, rewrite(*file));
    allocator_->write_groups();
  } catch (...) {
    // Nothing refers to the new nodes, and blocks that are marked as used without being so do no
    // harm. Pending runs stay pending; the next flush may succeed.
    for (const auto& [file, map] : maps) {
      nodes_.insert(nodes_.end(), map.added.begin(), map.added.end());
    }
    throw;
  }
  or_never_again([&]() PEELFS_REQUIRES(mutex_) {
    volume_->device().flush();
    for (auto& [file, map] : maps) {
      for (const auto& [block, bytes] : map.late) {
        write(volume_->device(), block * volume_->block_size(), bytes);
      }
      write_inode(*file, map);
    }
    volume_->device().flush();
  });
  for (auto& [file, map] : maps) {
    file->note_commit();
    for (const std::uint64_t block : map.freed) allocator_->give_back({block, 1});
  }
  dirty_.clear();
}

void Writer::write_inode(FileState& file, const RewrittenMap& map) {
  file.read_by_writer();
  const std::uint64_t place = allocator_->inode_offset(file.number_);
  Buffer bytes = read_bytes(volume_->device(), place, volume_->super().inode_size);
  auto* raw = reinterpret_cast<ext2_inode*>(bytes.data());
  if (std::memcmp(&raw->i_block, file.inode_.block.data(), map.root.size()) != 0 ||
      raw->i_generation != file.inode_.generation) {
    throw Error(Fault::damaged,
                "inode " + std::to_string(file.number_) + " has been changed by somebody else")
        .advice("nothing more is written; run e2fsck");
  }
  std::memcpy(&raw->i_block, map.root.data(), map.root.size());
  raw->i_size = static_cast<std::uint32_t>(file.size_);
  raw->i_size_high = static_cast<std::uint32_t>(file.size_ >> 32U);
  const std::uint64_t unit = file.inode_.has(kFlagHugeFile) ? 1 : volume_->block_size() / 512;
  std::uint64_t blocks = raw->i_blocks;
  const bool wide = volume_->super().has_ro_compat(kRoCompatHugeFile);
  if (wide) blocks |= std::uint64_t{raw->osd2.linux2.l_i_blocks_hi} << 32U;
  blocks += (file.fresh_blocks_ + map.added.size() - map.freed.size()) * unit;
  raw->i_blocks = static_cast<std::uint32_t>(blocks);
  if (wide) raw->osd2.linux2.l_i_blocks_hi = static_cast<std::uint16_t>(blocks >> 32U);
  raw->i_mtime = raw->i_ctime = static_cast<std::uint32_t>(std::time(nullptr));
  // The library reads the fields of a large inode even if the inode is small.
  Buffer large(std::max(bytes.size(), sizeof(ext2_inode_large)));
  std::memcpy(large.data(), bytes.data(), bytes.size());
  ext2fs_inode_csum_set(allocator_->handle(), file.number_,
                        reinterpret_cast<ext2_inode_large*>(large.data()));
  std::memcpy(bytes.data(), large.data(), bytes.size());
  write(volume_->device(), place, bytes);
  file.note_inode(map);
}

void Writer::finish() {
  release_kept();
  for (const std::uint64_t block : nodes_) allocator_->give_back({block, 1});
  nodes_.clear();
  allocator_->write_groups();
  or_never_again([&]() PEELFS_REQUIRES(mutex_) {
    volume_->device().flush();
    set_valid(true);
  });
}

/// Runs steps that leave the disk between two states if they fail; after a failure the writer
/// refuses all writes.
void Writer::or_never_again(const std::function<void()>& steps) {
  try {
    steps();
  } catch (const Error& error) {
    poison_ = std::make_unique<Error>(error);
    throw;
  } catch (...) {
    poison_ = std::make_unique<Error>(Fault::io, "an earlier flush of the filesystem has failed");
    throw;
  }
}

}  // namespace peelfs::ext
