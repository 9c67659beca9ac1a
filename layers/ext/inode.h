// An inode as libext2fs gave it, checked where peelfs depends on it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "ext/ext_disk.h"

namespace peelfs::ext {

struct Inode {
  enum class Type { regular, directory, symbolic_link, other };

  std::uint32_t number = 0;
  Type type = Type::other;
  std::uint64_t size = 0;             ///< bytes
  std::uint64_t allocated_bytes = 0;  ///< i_blocks: data, unwritten blocks and block maps
  std::uint32_t flags = 0;            ///< i_flags, see ext_disk.h
  std::uint32_t generation = 0;       ///< i_generation
  std::array<std::byte, 60> block{};  ///< i_block as it stands on the disk

  bool has(std::uint32_t flag) const { return (flags & flag) != 0; }
  /// Whether i_block holds the target of a symbolic link instead of block numbers.
  bool is_fast_link() const {
    return type == Type::symbolic_link && size < block.size() &&
           !has(flag_extents | flag_inline_data | flag_encrypted);
  }
};

}  // namespace peelfs::ext
