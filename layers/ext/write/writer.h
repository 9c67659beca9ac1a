// Writing to the files of one ext filesystem.
//
// Blocks that hold data are overwritten in place; that needs nothing from here. A write to a hole,
// to blocks that are allocated and unwritten, or behind the end of a file goes to blocks that
// nothing on the disk refers to yet, and is kept as pending: readers see it at once, the disk's
// tables do not know of it. A flush writes the tables, in this order:
//
//   the super block, no longer clean                                     | barrier
//   (data), bitmaps, group descriptors, new nodes of block maps          | barrier
//   inodes: the new map and size at once, since an inode is in one sector | barrier
//
//   unused space given back, the super block clean again                 | barrier
//
// So a power cut leaves blocks that are marked as used and are not, and what e2fsck counts anew;
// never a block that is used twice, nor a map that is half old and half new.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ext/read/block_map.h"
#include "ext/write/allocator.h"
#include "ext/write/map_rewrite.h"
#include "ext/write/system_zone.h"
#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs::ext {

/// What all devices that show one file share: its map, as the disk has it and as it will be.
/// at() and size() are thread-safe; the writer changes it.
class FileState {
 public:
  enum class Use : std::uint8_t {
    fixed,    ///< there is no writer, so map and size never change: no lookup takes a lock
    writable  ///< a Writer changes them
  };
  FileState(std::shared_ptr<const Volume> volume, const Inode& inode, Use use);

  /// Where one byte of the file is, and how long the file is now.
  struct Look {
    std::uint64_t size = 0;       ///< bytes
    std::optional<BlockRun> run;  ///< from the block of that byte on; none: it is behind the end
  };
  /// @param offset bytes
  /// @param most a file that is longer than so many bytes is not looked up: there is no run
  Look look(std::uint64_t offset, std::uint64_t most) const;
  /// Of a block map, with what is pending.
  BlockRun at(std::uint64_t logical) const;
  std::uint64_t size() const;             ///< i_size, in bytes
  std::uint64_t allocated_bytes() const;  ///< block maps included

  /// See BlockDevice::rely_on(). A file that has been relied on once cannot be written any more: no
  /// one may write to one of two devices of a file while the other one is read as a backing file.
  std::shared_ptr<const void> rely_on(const std::string& by);
  /// Why it cannot be written: the name of an image that is based on it; empty: it can be.
  std::string relied_on_by() const;
  bool relied_on() const noexcept { return relied_on_; }
  /// The caller calls it before each write. @throws Error(Fault::denied) with EROFS when an image
  /// relies on the file
  void about_to_write();

 private:
  friend class Writer;
  struct Pending {
    std::uint64_t blocks = 0, physical = 0;
  };
  std::unique_ptr<const BlockMap> make_map() const PEELFS_REQUIRES_SHARED(mutex_);
  /// at(), of a file with a writer.
  BlockRun find(std::uint64_t logical) const PEELFS_REQUIRES_SHARED(mutex_);
  /// Data that the writer has put on the disk.
  struct Stored {
    std::uint64_t logical = 0, physical = 0, blocks = 0;
    bool in_place = false;  ///< where the map has it already
    bool fresh = false;     ///< in blocks that were free before
    std::uint64_t end = 0;  ///< where it ends in the file, in bytes
  };
  void note_stored(const Stored& stored);
  /// The inode on the disk refers to a new map, and has the new size.
  void note_inode(const RewrittenMap& map);
  /// All that was pending is durable.
  void note_commit();
  /// For the writer, which reads without the mutex: nothing but these calls of its own changes what
  /// it reads, and it holds its own mutex meanwhile.
  void read_by_writer() const PEELFS_ASSERT_SHARED_CAPABILITY(mutex_) {}
  void add_pending(std::uint64_t logical, std::uint64_t physical, std::uint64_t blocks)
      PEELFS_REQUIRES(mutex_);

  const std::shared_ptr<const Volume> volume_;
  const std::uint32_t number_;
  /// Of a file without a writer; null: it has one.
  struct Fixed {
    std::uint64_t size = 0;
    std::uint64_t allocated = 0;
    std::unique_ptr<const BlockMap> map;
  };
  std::unique_ptr<const Fixed> fixed_;
  mutable SharedMutex mutex_;
  Inode inode_ PEELFS_GUARDED_BY(mutex_);  ///< as it is on the disk
  std::unique_ptr<const BlockMap> map_ PEELFS_GUARDED_BY(mutex_);
  /// By the first block of the file.
  std::map<std::uint64_t, Pending> pending_ PEELFS_GUARDED_BY(mutex_);
  std::uint64_t size_ PEELFS_GUARDED_BY(mutex_);
  std::uint64_t allocated_ PEELFS_GUARDED_BY(mutex_);  ///< bytes
  std::string relied_on_by_ PEELFS_GUARDED_BY(mutex_);
  std::atomic<bool> relied_on_ = false;
  bool written_ PEELFS_GUARDED_BY(mutex_) = false;

  // The writer's own: its mutex guards them.
  std::uint64_t fresh_blocks_ = 0;       ///< pending blocks that were free before
  std::uint64_t pending_blocks_ = 0;     ///< all of them
  std::optional<std::uint64_t> leaves_;  ///< of the extent tree on the disk, once counted
  bool inode_has_space_ = false;         ///< see claim_space()
};

/// One for each filesystem that is written to. Thread-safe.
class Writer {
 public:
  /// The writer of the volume, shared by all devices that write to it. A writer of an earlier
  /// volume on the same device refuses all writes from then on.
  static std::shared_ptr<Writer> of(const std::shared_ptr<const Volume>& volume);
  /// Whether it has marked the filesystem as not clean.
  bool is_at_work();

  explicit Writer(std::shared_ptr<const Volume> volume) : volume_(std::move(volume)) {}
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  std::shared_ptr<FileState> file(const Inode& inode);

  /// Writes where the file may have no block yet, also behind its end.
  /// @throws Error with ENOSPC when there is no space, or none may be allocated, saying why
  void store(const std::shared_ptr<FileState>& file, std::uint64_t offset, Bytes data);

  void flush();

  /// The caller calls it before it overwrites bytes of the device in place.
  /// @throws Error when they are the filesystem's own tables, or after retirement
  void check_in_place(std::uint64_t offset, std::uint64_t length);

 private:
  void retire();
  void check() const PEELFS_REQUIRES(mutex_);
  void begin() PEELFS_REQUIRES(mutex_);
  void set_valid(bool valid) PEELFS_REQUIRES(mutex_);
  void store_part(FileState& file, std::uint64_t offset, Bytes& data) PEELFS_REQUIRES(mutex_);
  void zero_behind_end(const FileState& file, std::uint64_t offset);
  /// Blocks taken ahead of need, for the block of a file that comes next.
  struct Kept {
    Allocator::Run run;
    std::uint64_t logical = 0;
  };
  Allocator::Run take(FileState& file, std::uint64_t logical, std::uint64_t wanted)
      PEELFS_REQUIRES(mutex_);
  void release_kept() PEELFS_REQUIRES(mutex_);
  std::uint64_t node_reserve() const PEELFS_REQUIRES(mutex_);
  std::uint64_t most_nodes(FileState& file, std::uint64_t more_runs,
                           std::uint64_t more_blocks) const;
  void make_nodes(std::uint64_t count) PEELFS_REQUIRES(mutex_);
  void reserve_nodes(FileState& file, std::uint64_t blocks) PEELFS_REQUIRES(mutex_);
  void commit() PEELFS_REQUIRES(mutex_);
  void or_never_again(const std::function<void()>& steps) PEELFS_REQUIRES(mutex_);
  RewrittenMap rewrite(FileState& file) PEELFS_REQUIRES(mutex_);
  void write_inode(FileState& file, const RewrittenMap& map) PEELFS_REQUIRES(mutex_);
  void finish() PEELFS_REQUIRES(mutex_);

  const std::shared_ptr<const Volume> volume_;
  Mutex mutex_;  ///< all writing but that in place
  std::unique_ptr<Allocator> allocator_ PEELFS_GUARDED_BY(mutex_);
  bool valid_ PEELFS_GUARDED_BY(mutex_) = true;  ///< what the disk's super block says
  std::unique_ptr<Error> poison_ PEELFS_GUARDED_BY(mutex_);
  std::atomic<bool> retired_ = false;
  std::once_flag zone_known_;
  std::unique_ptr<const SystemZone> zone_;
  std::set<std::shared_ptr<FileState>> dirty_ PEELFS_GUARDED_BY(mutex_);
  std::map<std::uint32_t, Kept> kept_ PEELFS_GUARDED_BY(mutex_);  ///< by inode
  /// Blocks for the nodes that the maps of pending runs will need. They are taken, and have space
  /// below, before a write is accepted.
  std::vector<std::uint64_t> nodes_ PEELFS_GUARDED_BY(mutex_);
  Mutex files_mutex_;
  std::map<std::uint32_t, std::weak_ptr<FileState>> files_ PEELFS_GUARDED_BY(files_mutex_);
};

}  // namespace peelfs::ext
