// Which blocks of a filesystem are asked for, and what was found to own them: for filesystems that
// answer Filesystem::owners() by one look at all that they hold.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "peelfs/byte_range.h"
#include "peelfs/filesystem.h"

namespace peelfs::fs {

/// Memory is four bytes for a block that is asked for, and one Owner for each claim that was
/// accepted. Not thread-safe.
class OwnerMap {
 public:
  /// @param ranges in order, not overlapping, none of them empty
  /// @param block_size bytes
  OwnerMap(std::span<const ByteRange> ranges, std::uint64_t block_size);

  bool wants(std::uint64_t block) const { return index_of(block) != kNowhere; }
  /// Gives the blocks from `first` on to an owner, as far as they are asked for and have none.
  /// @param owner is asked for once, if any of them is
  void claim(std::uint64_t first, std::uint64_t count,
             const std::function<Filesystem::Owner()>& owner);

  /// The ranges that were asked for, as Filesystem::owners() returns them.
  std::vector<Filesystem::OwnedRange> owners() const;

 private:
  static constexpr std::size_t kNowhere = ~std::size_t{0};
  /// Blocks that follow one another.
  struct Run {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    std::size_t index = 0;  ///< of the first one's owner
  };
  std::size_t index_of(std::uint64_t block) const;

  const std::vector<ByteRange> ranges_;
  const std::uint64_t block_size_;
  std::vector<Run> runs_;
  std::vector<std::uint32_t> owner_of_;  ///< by block: 0, or 1 + an index of owners_
  std::vector<Filesystem::Owner> owners_;
};

}  // namespace peelfs::fs
