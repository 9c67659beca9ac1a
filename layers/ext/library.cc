#include "ext/library.h"

#include <et/com_err.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <mutex>

#include "ext/channel.h"
#include "peelfs/error.h"
#include "peelfs/figure.h"

namespace peelfs::ext {

namespace {

// The library keeps all group descriptors in memory: enough for 128 TiB in blocks of 4 KiB.
constexpr std::uint64_t kMaxDescriptorBytes = std::uint64_t{64} << 20U;

constexpr std::uint16_t kModeTypeMask = 0xf000;
constexpr std::uint16_t kModeDirectory = 0x4000;
constexpr std::uint16_t kModeRegular = 0x8000;
constexpr std::uint16_t kModeSymbolicLink = 0xa000;

std::string inode_name(std::uint32_t number) {
  return "inode " + std::to_string(number);
}

/// @param extra the field of 32 bits that later versions of the format added: bits 32 and 33 of the
///   seconds below 30 bits of nanoseconds
Filesystem::Time time_of(std::uint32_t seconds, std::uint32_t extra) {
  const auto low = static_cast<std::int64_t>(static_cast<std::int32_t>(seconds));
  return {low + (static_cast<std::int64_t>(extra & 3U) << 32U), extra >> 2U};
}

/// Those fields of an inode that have nothing to do with where its bytes are.
void describe(const ext2_inode_large& raw, std::size_t inode_size, Inode& inode) {
  inode.mode = raw.i_mode;
  inode.links = raw.i_links_count;
  inode.owner = raw.i_uid | static_cast<std::uint32_t>(raw.osd2.linux2.l_i_uid_high) << 16U;
  inode.group = raw.i_gid | static_cast<std::uint32_t>(raw.osd2.linux2.l_i_gid_high) << 16U;
  // i_extra_isize tells how much of what stands behind the first 128 bytes is in use.
  const std::size_t end = inode_size > EXT2_GOOD_OLD_INODE_SIZE
                              ? EXT2_GOOD_OLD_INODE_SIZE + std::size_t{raw.i_extra_isize}
                              : EXT2_GOOD_OLD_INODE_SIZE;
  const auto extra = [&](std::size_t field, std::uint32_t value) {
    return field + sizeof value <= end ? value : 0;
  };
  inode.modified =
      time_of(raw.i_mtime, extra(offsetof(ext2_inode_large, i_mtime_extra), raw.i_mtime_extra));
  inode.changed =
      time_of(raw.i_ctime, extra(offsetof(ext2_inode_large, i_ctime_extra), raw.i_ctime_extra));
  inode.accessed =
      time_of(raw.i_atime, extra(offsetof(ext2_inode_large, i_atime_extra), raw.i_atime_extra));
  if (offsetof(ext2_inode_large, i_crtime) + sizeof raw.i_crtime <= end) {
    inode.created = time_of(raw.i_crtime,
                            extra(offsetof(ext2_inode_large, i_crtime_extra), raw.i_crtime_extra));
  }
}

}  // namespace

Library::Library(std::shared_ptr<const Volume> volume)
    : volume_(std::move(volume)), channel_(std::make_unique<DeviceChannel>(volume_->device())) {
  static std::once_flag messages;
  std::call_once(messages, initialize_ext2_error_table);
  const SuperBlock& super = volume_->super();
  const std::uint64_t descriptors = super.group_count() * super.descriptor_size;
  if (descriptors > kMaxDescriptorBytes) {
    throw Error(Fault::unsupported, "the filesystem has too many block groups to be searched")
        .found(std::to_string(super.group_count()) + " groups")
        .expected("at most " + std::to_string(kMaxDescriptorBytes / super.descriptor_size))
        .advice("its device file can still be mounted and read");
  }
  int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES | EXT2_FLAG_SKIP_MMP;
  if (super.checksum_wrong) flags |= EXT2_FLAG_IGNORE_CSUM_ERRORS;
  if (const errcode_t code = channel_->open(flags, &handle_)) {
    fail(code, "libext2fs cannot open the filesystem");
  }
  // From here on checksums count again, also where that of the super block is known to be wrong.
  handle_->flags &= ~EXT2_FLAG_IGNORE_CSUM_ERRORS;
}

Library::~Library() {
  if (handle_ != nullptr) ext2fs_free(handle_);
}

Inode Library::inode(std::uint32_t number) {
  const SuperBlock& super = volume_->super();
  if (number == 0 || number > super.inodes_count) {
    throw Error(Fault::damaged, inode_name(number) + " does not exist")
        .expected("1 to " + std::to_string(super.inodes_count));
  }
  check_group((number - 1) / super.inodes_per_group);
  ext2_inode_large raw{};
  auto* const plain = reinterpret_cast<ext2_inode*>(&raw);  // its first part, as the library has it
  if (const errcode_t code = ext2fs_read_inode2(handle_, number, plain, sizeof raw, 0)) {
    fail(code, inode_name(number) + " cannot be read");
  }
  if (raw.i_links_count == 0 || raw.i_mode == 0) {
    throw Error(Fault::damaged, inode_name(number) + " is not in use")
        .found("mode " + hex(raw.i_mode) + ", " + std::to_string(raw.i_links_count) + " links")
        .expected("an inode in use, because a directory names it");
  }
  Inode inode;
  inode.number = number;
  inode.flags = raw.i_flags;
  inode.generation = raw.i_generation;
  describe(raw, super.inode_size, inode);
  const std::uint16_t type = raw.i_mode & kModeTypeMask;
  inode.type = type == kModeRegular        ? Inode::Type::regular
               : type == kModeDirectory    ? Inode::Type::directory
               : type == kModeSymbolicLink ? Inode::Type::symbolic_link
                                           : Inode::Type::other;
  inode.size = raw.i_size;
  // Of a directory this was i_dir_acl once, and of revision 0 it was reserved.
  if (super.revision > 0 &&
      (inode.type == Inode::Type::regular || super.has_incompat(kIncompatLargedir))) {
    inode.size |= static_cast<std::uint64_t>(raw.i_size_high) << 32U;
  }
  if (inode.size >> 63U != 0) {
    throw Error(Fault::damaged, inode_name(number) + " has an impossible size")
        .found(figure(inode.size) + " bytes")
        .expected("less than 2^63 bytes");
  }
  std::uint64_t blocks = raw.i_blocks;
  if (super.has_ro_compat(kRoCompatHugeFile)) {
    blocks |= static_cast<std::uint64_t>(raw.osd2.linux2.l_i_blocks_hi) << 32U;
  }
  // Below 2^48 units of at most 64 KiB.
  inode.allocated_bytes = blocks * (inode.has(kFlagHugeFile) ? super.block_size : 512U);
  static_assert(sizeof raw.i_block == sizeof inode.block);
  if (inode.has(kFlagExtents | kFlagInlineData) || inode.is_fast_link()) {
    std::memcpy(inode.block.data(), &raw.i_block, inode.block.size());
  } else {
    // The library gave numbers in the order of this machine.
    for (std::size_t i = 0; i < EXT2_N_BLOCKS; ++i) {
      for (std::size_t byte = 0; byte < 4; ++byte) {
        inode.block.at(4 * i + byte) = static_cast<std::byte>(raw.i_block[i] >> (8 * byte));
      }
    }
  }
  return inode;
}

Buffer Library::inline_data(const Inode& inode) {
  // What an inode of at most one block can hold; the library's own answer is not trusted blindly.
  const std::size_t most = volume_->super().inode_size;
  std::size_t size = 0;
  if (const errcode_t code = ext2fs_inline_data_size(handle_, inode.number, &size)) {
    fail(code, inode_name(inode.number) + ": its inline data cannot be read");
  }
  if (size > most || inode.size > most) {
    throw Error(Fault::damaged, inode_name(inode.number) + " has more inline data than it can hold")
        .found(figure(std::max<std::uint64_t>(size, inode.size)) + " bytes")
        .expected("at most " + std::to_string(most));
  }
  Buffer bytes(std::max<std::size_t>(size, inode.block.size()));
  if (const errcode_t code =
          ext2fs_inline_data_get(handle_, inode.number, nullptr, bytes.data(), &size)) {
    fail(code, inode_name(inode.number) + ": its inline data cannot be read");
  }
  bytes.resize(inode.size);  // what i_size has beyond the stored bytes is a hole
  return bytes;
}

void Library::check_group(std::uint32_t group) {
  const SuperBlock& super = volume_->super();
  if (group >= handle_->group_desc_count) {
    throw Error(Fault::damaged, "block group " + std::to_string(group) + " does not exist")
        .expected("below " + std::to_string(handle_->group_desc_count))
        .advice("s_inodes_count and s_blocks_count contradict each other");
  }
  const bool checked =
      super.has_ro_compat(kRoCompatGdtCsum) || super.has_ro_compat(kRoCompatMetadataCsum);
  if (!checked || ext2fs_group_desc_csum_verify(handle_, group) != 0) return;
  throw Error(Fault::damaged,
              "the descriptor of block group " + std::to_string(group) + " fails its checksum")
      .found(hex(ext2fs_bg_checksum(handle_, group)))
      .expected(hex(ext2fs_group_desc_csum(handle_, group)))
      .advice("its inodes cannot be found; run e2fsck on a writable copy");
}

void Library::fail(errcode_t code, const std::string& what) {
  if (const std::exception_ptr failure = channel_->take_failure()) std::rethrow_exception(failure);
  if (code == EXT2_ET_NO_MEMORY || code == ENOMEM) throw std::bad_alloc();
  throw Error(Fault::damaged, what)
      .found(error_message(code))
      .advice("run e2fsck on a writable copy");
}

}  // namespace peelfs::ext
