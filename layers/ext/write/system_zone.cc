#include "ext/write/system_zone.h"

#include <algorithm>
#include <iterator>

#include "ext/channel.h"
#include "ext/group_tables.h"
#include "peelfs/error.h"

namespace peelfs::ext {

SystemZone::SystemZone(const Volume& volume) : block_size_(volume.block_size()) {
  DeviceChannel channel(volume.device());
  ext2_filsys filesystem = nullptr;
  if (const errcode_t code =
          channel.open(EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES, &filesystem)) {
    throw Error(Fault::damaged, "the filesystem's group descriptors cannot be read")
        .found(error_message(code))
        .advice("run e2fsck first");
  }
  for_each_table(filesystem, [this](const std::string&, std::uint64_t block, std::uint64_t count) {
    add(block, count);
  });
  ext2fs_free(filesystem);
  // Those of a damaged filesystem may overlap.
  for (auto at = runs_.begin(); at != runs_.end(); ++at) {
    for (auto next = std::next(at); next != runs_.end() && next->first <= at->second;) {
      at->second = std::max(at->second, next->second);
      next = runs_.erase(next);
    }
  }
}

void SystemZone::add(std::uint64_t block, std::uint64_t count) {
  if (count == 0) return;
  std::uint64_t& end = runs_[block];
  end = std::max(end, block + count);
}

void SystemZone::check(std::uint64_t offset, std::uint64_t length) const {
  const std::uint64_t first = offset / block_size_;
  const std::uint64_t last = (offset + length - 1) / block_size_;
  const auto next = runs_.upper_bound(last);
  if (next == runs_.begin() || std::prev(next)->second <= first) return;
  throw Error(Fault::damaged, "a block of the file is one of the filesystem's own tables")
      .found("block " + std::to_string(std::max(first, std::prev(next)->first)))
      .expected("a block that holds data")
      .advice("nothing was written; run e2fsck on the filesystem")
      .with_errno(EIO);
}

}  // namespace peelfs::ext
