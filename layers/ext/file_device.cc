#include "ext/file_device.h"

#include <algorithm>

#include "ext/block_map.h"
#include "peelfs/error.h"

namespace peelfs::ext {

namespace {

class FileDevice : public BlockDevice {
 public:
  FileDevice(std::shared_ptr<const Volume> volume, const Inode& inode, std::string description)
      : BlockDevice(inode.size),
        volume_(std::move(volume)),
        map_(inode.has(flag_extents) ? make_extent_map(volume_, inode)
                                     : make_indirect_map(volume_, inode)),
        allocated_(std::min(inode.allocated_bytes, inode.size)),
        description_(std::move(description)) {}

  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    const std::uint64_t block_size = volume_->block_size();
    const BlockRun run = map_->at(offset / block_size);
    const std::uint64_t within = offset % block_size;
    // A run is at most 2^42 blocks of at most 2^16 bytes.
    const std::uint64_t covered = std::min(length, run.blocks * block_size - within);
    if (!run.physical) return Extent::zeroes(covered);
    // The map has checked the block against the filesystem's end, and that is below 2^64 bytes.
    const std::uint64_t at = *run.physical * block_size + within;
    const std::uint64_t end = volume_->device().size();
    if (at >= end) {
      throw Error(Fault::damaged, "a block of the file lies beyond the end of the device")
          .found("byte " + std::to_string(at))
          .expected("below " + std::to_string(end))
          .advice("the filesystem is larger than its device: is this a truncated copy?");
    }
    return Extent::in_device(volume_->device(), at, std::min(covered, end - at));
  }

  std::uint64_t allocated_bytes() const override { return allocated_; }
  std::string describe() const override { return description_; }

 private:
  const std::shared_ptr<const Volume> volume_;
  const std::unique_ptr<const BlockMap> map_;
  const std::uint64_t allocated_;
  const std::string description_;
};

/// A file whose few bytes stand in its inode.
class InlineFile : public BlockDevice {
 public:
  InlineFile(Buffer bytes, std::string description)
      : BlockDevice(bytes.size()), bytes_(std::move(bytes)), description_(std::move(description)) {}

  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override {
    const Bytes from = Bytes(bytes_).subspan(offset, out.size());
    std::copy(from.begin(), from.end(), out.begin());
  }
  std::string describe() const override { return description_; }

 private:
  const Buffer bytes_;
  const std::string description_;
};

}  // namespace

DevicePtr make_file(Library& library, const Inode& inode, std::string description) {
  if (inode.has(flag_encrypted)) {
    throw Error(Fault::unsupported, description + " is encrypted by the filesystem (fscrypt)")
        .advice("copy it out on a system that has its key");
  }
  if (inode.has(flag_compressed)) {
    throw Error(Fault::unsupported, description + " is compressed by the filesystem (e2compr)")
        .advice("copy it out on a system that supports it");
  }
  if (inode.has(flag_ea_inode)) {
    throw Error(Fault::damaged, description + " is the value of an extended attribute")
        .expected("a file, because a directory names it")
        .advice("run e2fsck on a writable copy");
  }
  if (inode.has(flag_inline_data)) {
    return std::make_shared<InlineFile>(library.inline_data(inode), std::move(description));
  }
  if (inode.is_fast_link()) {
    return std::make_shared<InlineFile>(
        Buffer(inode.block.begin(), inode.block.begin() + static_cast<std::ptrdiff_t>(inode.size)),
        std::move(description));
  }
  return std::make_shared<FileDevice>(library.volume(), inode, std::move(description));
}

std::uint64_t first_byte_on_disk(const BlockDevice& file) {
  try {
    const Extent first = file.size() == 0 ? Extent{} : file.map(0, 1);
    return first.kind == ExtentKind::lower ? first.offset : 0;
  } catch (const Error&) {
    return 0;
  }
}

}  // namespace peelfs::ext
