#include "ext/volume.h"

#include <atomic>

#include "peelfs/error.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"
#include "peelfs/mutex.h"

namespace peelfs::ext {

namespace {

std::atomic<std::uint64_t> volumes_made = 0;

}  // namespace

Volume::Volume(DevicePtr device, SuperBlock super)
    : device_(std::move(device)), super_(std::move(super)), id_(++volumes_made) {}

void Volume::check_blocks(std::uint64_t block, std::uint64_t count, std::string_view what) const {
  // Everything up to s_first_data_block is the boot sector's and the primary super block's.
  if (block > super_.first_data_block && block < super_.blocks_count &&
      count <= super_.blocks_count - block) {
    return;
  }
  throw Error(Fault::damaged, std::string(what) + " lies outside of the filesystem")
      .found("blocks " + figure(block, block_size()) + " to " + figure(block + count, block_size()))
      .expected("blocks " + std::to_string(super_.first_data_block + 1) + " to " +
                figure(super_.blocks_count, block_size()))
      .advice("run e2fsck on a writable copy");
}

Buffer Volume::read_block(std::uint64_t block) const {
  const std::uint64_t offset = block * block_size();
  if (offset >= device_->size() || block_size() > device_->size() - offset) {
    throw Error(Fault::damaged, "a block of metadata lies beyond the end of the device")
        .found("block " + figure(block, block_size()) + " at byte " + figure(offset))
        .expected("an end by byte " + std::to_string(device_->size()))
        .advice("the filesystem is larger than its device: is this a truncated copy?");
  }
  return read_bytes(*device_, offset, block_size());
}

}  // namespace peelfs::ext
