#include "ext/owner.h"

#include <algorithm>
#include <map>
#include <set>

#include "ext/channel.h"
#include "ext/group_tables.h"
#include "peelfs/error.h"

namespace peelfs::ext {

namespace {

/// Blocks that are to be named, as runs of block numbers, and the names found so far.
class Wanted {
 public:
  Wanted(std::span<const ByteRange> ranges, std::uint64_t block_size) {
    for (const ByteRange& range : ranges) {
      const std::uint64_t first = range.offset / block_size;
      const std::uint64_t last = (range.offset + range.length - 1) / block_size;
      for (std::uint64_t block = first; block <= last; ++block) names_.try_emplace(block);
    }
  }
  bool contains(std::uint64_t block) const { return names_.contains(block); }
  void name(std::uint64_t block, const std::string& what) {
    const auto at = names_.find(block);
    if (at != names_.end() && at->second.empty()) at->second = what;
  }
  void name_run(std::uint64_t first, std::uint64_t count, const std::string& what) {
    for (auto at = names_.lower_bound(first); at != names_.end() && at->first - first < count;
         ++at) {
      if (at->second.empty()) at->second = what;
    }
  }
  const std::map<std::uint64_t, std::string>& names() const { return names_; }

 private:
  std::map<std::uint64_t, std::string> names_;
};

/// An open handle that is given back.
struct Handle {
  ext2_filsys filesystem = nullptr;
  Handle() = default;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (filesystem != nullptr) ext2fs_free(filesystem);
  }
};

/// The inodes that own wanted blocks, and all directories, which know their names.
class Inodes {
 public:
  Inodes(ext2_filsys filesystem, Wanted& wanted) : filesystem_(filesystem), wanted_(wanted) {}

  void scan() {
    ext2_inode_scan scan = nullptr;
    if (ext2fs_open_inode_scan(filesystem_, 0, &scan) != 0) return;
    ext2_ino_t number = 0;
    ext2_inode inode{};
    // Every inode that cannot be read is one more try, so damage ends the loop in the end.
    for (std::uint64_t tries = 0; tries <= filesystem_->super->s_inodes_count; ++tries) {
      const errcode_t code = ext2fs_get_next_inode(scan, &number, &inode);
      if (code == 0 && number == 0) break;
      if (code == 0 && inode.i_links_count != 0 && inode.i_mode != 0) look_at(number, inode);
      if (code == 0 && number == EXT2_JOURNAL_INO && inode.i_blocks != 0) look_at(number, inode);
    }
    ext2fs_close_inode_scan(scan);
  }

  void name() {
    find_paths();
    for (const auto& [block, owner] : owners_) wanted_.name(block, what_is(owner));
  }

 private:
  struct Owner {
    ext2_ino_t inode = 0;
    bool metadata = false;
  };
  struct Walk {
    Inodes* self;
    ext2_ino_t inode;
  };

  void look_at(ext2_ino_t number, ext2_inode& inode) {
    if (LINUX_S_ISDIR(inode.i_mode)) directories_.insert(number);
    const blk64_t attributes = ext2fs_file_acl_block(filesystem_, &inode);
    if (attributes != 0 && wanted_.contains(attributes)) owners_[attributes] = {number, true};
    if (ext2fs_inode_has_valid_blocks2(filesystem_, &inode) == 0) return;
    Walk walk{this, number};
    ext2fs_block_iterate3(filesystem_, number, BLOCK_FLAG_READ_ONLY, nullptr, &block_seen, &walk);
  }

  static int block_seen(ext2_filsys, blk64_t* block, e2_blkcnt_t place, blk64_t, int, void* data) {
    const Walk& walk = *static_cast<const Walk*>(data);
    Inodes& self = *walk.self;
    // Damaged maps may name more blocks than there are, again and again.
    if (++self.seen_ > 4 * ext2fs_blocks_count(self.filesystem_->super) + 1'000'000) {
      return BLOCK_ABORT;
    }
    if (self.wanted_.contains(*block)) {
      self.owners_.try_emplace(*block, Owner{walk.inode, place < 0});
      self.paths_.try_emplace(walk.inode);
    }
    return 0;
  }

  void find_paths() {
    for (const ext2_ino_t directory : directories_) {
      if (missing_ == 0 && looked_) break;
      looked_ = true;
      missing_ = 0;
      for (const auto& [inode, path] : paths_) missing_ += path.empty() ? 1 : 0;
      Walk walk{this, directory};
      ext2fs_dir_iterate2(filesystem_, directory, 0, nullptr, &entry_seen, &walk);
    }
  }

  static int entry_seen(ext2_ino_t, int entry_kind, ext2_dir_entry* entry, int, int, char*,
                        void* data) {
    const Walk& walk = *static_cast<const Walk*>(data);
    if (entry_kind < DIRENT_OTHER_FILE) return 0;  // "." and ".."
    const auto wanted = walk.self->paths_.find(entry->inode);
    if (wanted == walk.self->paths_.end() || !wanted->second.empty()) return 0;
    const auto length = static_cast<std::size_t>(ext2fs_dirent_name_len(entry));
    wanted->second = walk.self->path_of(walk.inode) + std::string(entry->name, length);
    return 0;
  }

  /// With a slash at its end.
  std::string path_of(ext2_ino_t directory) {
    if (directory == EXT2_ROOT_INO) return "/";
    char* text = nullptr;
    if (ext2fs_get_pathname(filesystem_, directory, 0, &text) != 0 || text == nullptr) {
      return "<inode " + std::to_string(directory) + ">/";
    }
    std::string path(text);
    ext2fs_free_mem(&text);
    return path + "/";
  }

  std::string what_is(const Owner& owner) {
    const ext2_ino_t inode = owner.inode;
    if (inode == EXT2_JOURNAL_INO) return "journal";
    if (inode == EXT2_RESIZE_INO) return "reserved group descriptors";
    if (inode == EXT2_BAD_INO) return "bad blocks";
    if (inode == EXT2_ROOT_INO) return "directory /";
    std::string path = paths_[inode];
    if (path.empty()) path = "<inode " + std::to_string(inode) + ">";
    if (owner.metadata) return "block map or attributes of " + path;
    return (directories_.contains(inode) ? "directory " : "file ") + path;
  }

  ext2_filsys filesystem_;
  Wanted& wanted_;
  std::set<ext2_ino_t> directories_;
  std::map<ext2_ino_t, std::string> paths_;  ///< of inodes that own wanted blocks
  std::map<std::uint64_t, Owner> owners_;
  std::uint64_t seen_ = 0;
  std::uint64_t missing_ = 0;
  bool looked_ = false;
};

std::vector<NamedRange> cut(std::span<const ByteRange> ranges, const Wanted& wanted,
                            std::uint64_t block_size) {
  std::vector<NamedRange> result;
  for (const ByteRange& range : ranges) {
    for (std::uint64_t at = range.offset; at < range.offset + range.length;) {
      const std::uint64_t block = at / block_size;
      const std::uint64_t end = std::min((block + 1) * block_size, range.offset + range.length);
      const std::string& what = wanted.names().at(block);
      append(result, at, end, what);
      at = end;
    }
  }
  return result;
}

}  // namespace

std::vector<NamedRange> name_blocks(const DevicePtr& device, std::span<const ByteRange> ranges) {
  DeviceChannel channel(*device);
  Handle handle;
  const int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES | EXT2_FLAG_SKIP_MMP |
                    EXT2_FLAG_IGNORE_CSUM_ERRORS;
  if (const errcode_t code = channel.open(flags, &handle.filesystem)) {
    handle.filesystem = nullptr;
    if (const std::exception_ptr failure = channel.take_failure()) std::rethrow_exception(failure);
    throw Error(Fault::damaged, "libext2fs cannot open the filesystem")
        .found("error " + std::to_string(code));
  }
  const std::uint64_t block_size = handle.filesystem->blocksize;
  Wanted wanted(ranges, block_size);
  for_each_table(handle.filesystem,
                 [&](const std::string& what, std::uint64_t block, std::uint64_t count) {
                   wanted.name_run(block, count, what);
                 });
  Inodes inodes(handle.filesystem, wanted);
  inodes.scan();
  inodes.name();
  // The superblock has its own kibibyte, also where a block is larger.
  return cut(ranges, wanted, block_size);
}

}  // namespace peelfs::ext
