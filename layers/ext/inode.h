// An inode as libext2fs gave it, checked where peelfs depends on it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "ext/ext_disk.h"
#include "peelfs/filesystem.h"

namespace peelfs::ext {

struct Inode {
  using Type = Filesystem::Type;
  using Time = Filesystem::Time;

  std::uint32_t number = 0;
  Type type = Type::other;
  std::uint64_t size = 0;             ///< bytes
  std::uint64_t allocated_bytes = 0;  ///< i_blocks: data, unwritten blocks and block maps
  std::uint32_t flags = 0;            ///< i_flags, see ext_disk.h
  std::uint32_t generation = 0;       ///< i_generation
  std::uint16_t mode = 0;             ///< i_mode
  std::uint16_t links = 0;            ///< i_links_count
  std::uint32_t owner = 0;            ///< i_uid with l_i_uid_high
  std::uint32_t group = 0;            ///< i_gid with l_i_gid_high
  Time modified, changed, accessed;   ///< i_mtime, i_ctime, i_atime
  std::optional<Time> created;        ///< i_crtime, where the inode has room for it
  std::array<std::byte, 60> block{};  ///< i_block as it stands on the disk

  bool has(std::uint32_t flag) const { return (flags & flag) != 0; }
  /// Whether i_block holds the target of a symbolic link instead of block numbers.
  bool is_fast_link() const {
    return type == Type::symbolic_link && size < block.size() &&
           !has(kFlagExtents | kFlagInlineData | kFlagEncrypted);
  }
};

}  // namespace peelfs::ext
