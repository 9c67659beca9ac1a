// The blocks of a filesystem that belong to no file: a write to a file must never reach them.
#pragma once

#include <cstdint>
#include <map>

#include "ext/volume.h"

namespace peelfs::ext {

/// Super blocks, group descriptors, bitmaps and inode tables, as the kernel's block_validity has
/// them. A damaged or hostile block map may name them as blocks of a file. Immutable.
class SystemZone {
 public:
  /// Looks at the group descriptors, by libext2fs. @throws Error when they cannot be read
  explicit SystemZone(const Volume& volume);

  /// @param offset bytes, on the volume's device
  /// @throws Error(Fault::damaged) with EIO when the range touches one of them
  void check(std::uint64_t offset, std::uint64_t length) const;

 private:
  void add(std::uint64_t block, std::uint64_t count);

  const std::uint64_t block_size_;
  std::map<std::uint64_t, std::uint64_t> runs_;  ///< first block -> behind the last
};

}  // namespace peelfs::ext
