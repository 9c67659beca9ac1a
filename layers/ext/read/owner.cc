#include "ext/read/owner.h"

#include <algorithm>
#include <map>
#include <set>

#include "ext/channel.h"
#include "ext/group_tables.h"
#include "fs/owner_map.h"
#include "peelfs/error.h"

namespace peelfs::ext {

namespace {

using Owner = Filesystem::Owner;

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
  Inodes(ext2_filsys filesystem, fs::OwnerMap& wanted)
      : filesystem_(filesystem),
        wanted_(wanted),
        inodes_per_group_(filesystem->super->s_inodes_per_group) {}

  void scan() {
    ext2_inode_scan scan = nullptr;
    if (ext2fs_open_inode_scan(filesystem_, 0, &scan) != 0) return;
    ext2_ino_t number = 0;
    ext2_inode inode{};
    dgrp_t next_group = 0;
    // Every inode that cannot be read is one more try, so damage ends the loop in the end.
    for (std::uint64_t tries = 0; tries <= filesystem_->super->s_inodes_count; ++tries) {
      const errcode_t code = ext2fs_get_next_inode(scan, &number, &inode);
      if (code == 0 && number == 0) break;
      if (code == 0 && inode.i_links_count != 0 && inode.i_mode != 0) look_at(number, inode);
      if (code == 0 && number == EXT2_JOURNAL_INO && inode.i_blocks != 0) look_at(number, inode);
      if (code != EXT2_ET_NEXT_INODE_READ) continue;
      // The library would try the block that cannot be read again and again: the rest of its group
      // is left out. The scan may stand at the end of the group of the last inode, or behind it.
      const dgrp_t behind_last = number == 0 ? 0 : (number - 1) / inodes_per_group_ + 1;
      next_group = std::max(next_group + 1, behind_last);
      if (next_group >= filesystem_->group_desc_count) break;
      if (ext2fs_inode_scan_goto_blockgroup(scan, static_cast<int>(next_group)) != 0) break;
    }
    ext2fs_close_inode_scan(scan);
  }

  void name() {
    find_paths();
    for (const auto& [block, holder] : holders_) {
      wanted_.claim(block, 1, [&, &one = holder] { return what_is(one); });
    }
  }

 private:
  struct Holder {
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
    if (attributes != 0 && wanted_.wants(attributes)) holders_[attributes] = {number, true};
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
    if (self.wanted_.wants(*block)) {
      self.holders_.try_emplace(*block, Holder{walk.inode, place < 0});
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

  Owner what_is(const Holder& holder) {
    const ext2_ino_t inode = holder.inode;
    const Filesystem::Id id{0, inode};
    if (inode == EXT2_JOURNAL_INO) return {Owner::Kind::structure, {}, "journal"};
    if (inode == EXT2_RESIZE_INO) return {Owner::Kind::structure, {}, "reserved group descriptors"};
    if (inode == EXT2_BAD_INO) return {Owner::Kind::structure, {}, "bad blocks"};
    if (inode == EXT2_ROOT_INO) return {Owner::Kind::directory, id, "/"};
    std::string path = paths_[inode];
    if (path.empty()) path = "<inode " + std::to_string(inode) + ">";
    const auto kind = holder.metadata                ? Owner::Kind::map
                      : directories_.contains(inode) ? Owner::Kind::directory
                                                     : Owner::Kind::file;
    return {kind, id, std::move(path)};
  }

  ext2_filsys filesystem_;
  fs::OwnerMap& wanted_;
  const ext2_ino_t inodes_per_group_;
  std::set<ext2_ino_t> directories_;
  std::map<ext2_ino_t, std::string> paths_;  ///< of inodes that own wanted blocks
  std::map<std::uint64_t, Holder> holders_;  ///< by block
  std::uint64_t seen_ = 0;
  std::uint64_t missing_ = 0;
  bool looked_ = false;
};

}  // namespace

std::vector<Filesystem::OwnedRange> find_owners(const BlockDevice& device,
                                                std::span<const ByteRange> ranges) {
  DeviceChannel channel(device);
  Handle handle;
  const int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES | EXT2_FLAG_SKIP_MMP |
                    EXT2_FLAG_IGNORE_CSUM_ERRORS;
  if (const errcode_t code = channel.open(flags, &handle.filesystem)) {
    handle.filesystem = nullptr;
    if (const std::exception_ptr failure = channel.take_failure()) std::rethrow_exception(failure);
    throw Error(Fault::damaged, "libext2fs cannot open the filesystem")
        .found("error " + std::to_string(code));
  }
  // The superblock has its own kibibyte, also where a block is larger.
  fs::OwnerMap wanted(ranges, handle.filesystem->blocksize);
  for_each_table(
      handle.filesystem, [&](const std::string& what, std::uint64_t block, std::uint64_t count) {
        wanted.claim(block, count, [&] { return Owner{Owner::Kind::structure, {}, what}; });
      });
  Inodes inodes(handle.filesystem, wanted);
  inodes.scan();
  inodes.name();
  return wanted.owners();
}

}  // namespace peelfs::ext
