#include "ext/ext.h"

#include <memory>

#include "ext/ext_disk.h"
#include "ext/filesystem.h"
#include "fs/open.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

/// The command that may restore a super block from its first backup, if that lies where mke2fs puts
/// it.
std::string advice_to_restore(const BlockDevice& device) {
  for (std::uint32_t log_size = 0; log_size <= 6; ++log_size) {
    const std::uint64_t block_size = 1024ULL << log_size;
    // Group 1: a group's bitmap is one block, and blocks of 1024 bytes begin with number 1.
    const std::uint64_t block = 8 * block_size + (log_size == 0 ? 1 : 0);
    try {
      const Buffer bytes = read_up_to(device, block * block_size, ext::kSuperBlockSize);
      const auto backup = ext::decode_super_block(bytes);
      if (!backup || backup->block_size != block_size) continue;
      return "on a writable copy this may restore it from a backup: e2fsck -b " +
             std::to_string(block) + " -B " + std::to_string(block_size);
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): then it is not there
    }
  }
  return "no backup of it stands where mke2fs puts the first one; mke2fs -n with the options that "
         "it was made with lists the other places";
}

/// @return nullptr when it does not look like an ext filesystem
std::shared_ptr<const ext::SuperBlock> read_super_block(const BlockDevice& device) {
  const Buffer bytes = read_up_to(device, ext::kSuperBlockOffset, ext::kSuperBlockSize);
  std::optional<ext::SuperBlock> super;
  try {
    super = ext::decode_super_block(bytes);
  } catch (const Error& error) {
    throw Error(error).advice(advice_to_restore(device));
  }
  // An external journal begins like a filesystem, but is none.
  if (!super || super->has_incompat(ext::kIncompatJournalDev)) return nullptr;
  return std::make_shared<const ext::SuperBlock>(std::move(*super));
}

}  // namespace

std::optional<Claim> ext_probe(const ProbeInput& input) {
  const std::string& type = input.identity.type;
  const bool named_ext = type == "ext2" || type == "ext3" || type == "ext4" || type == "ext4dev";
  // libblkid knows what else may stand around a super block: a RAID1 member with its metadata at
  // the end, say.
  if (!type.empty() && !named_ext) return std::nullopt;
  std::shared_ptr<const ext::SuperBlock> super;
  try {
    super = read_super_block(input.device);
  } catch (const Error& error) {
    if (named_ext || error.fault() != Fault::damaged) throw;
    return std::nullopt;  // two bytes of magic by chance
  }
  if (!super) return std::nullopt;
  Claim claim;
  claim.format = named_ext ? type : super->type();
  claim.label = super->volume_name;
  claim.uuid = super->uuid;
  claim.state = std::move(super);
  return claim;
}

Opened ext_open(const OpenInput& input) {
  const Member& member = input.members.front();
  auto super = member.claim == nullptr
                   ? nullptr
                   : std::static_pointer_cast<const ext::SuperBlock>(member.claim->state);
  if (!super) super = read_super_block(*member.device);
  if (!super) throw Error(Fault::damaged, "there is no ext super block");
  if (const std::string features = ext::unsupported_features(super->feature_incompat);
      !features.empty()) {
    throw Error(Fault::unsupported, "the filesystem cannot be searched for disk images")
        .found("incompatible features: " + features)
        .advice("its device file can still be mounted and read");
  }
  const fs::Mount mount = [&](DevicePtr device) {
    return ext::make_filesystem(std::make_shared<const ext::Volume>(std::move(device), *super));
  };
  return fs::open_filesystem(mount, super->uuid, input);
}

std::string_view ext_recognise(const BlockDevice& file) {
  constexpr std::size_t kPlace = 1024;
  const Buffer bytes = read_up_to(file, kPlace, 1024);
  if (bytes.size() < 1024) return {};
  const ByteReader super(bytes, "super block");
  constexpr std::uint32_t kIncompatJournalDev = 8;
  const bool is_filesystem = super.le16(0x38) == 0xef53 &&  // s_magic
                             super.le32(0x18) <= 6 &&       // s_log_block_size
                             super.le32(0) != 0 &&          // s_inodes_count
                             super.le32(0x04) != 0 &&       // s_blocks_count_lo
                             super.le32(0x20) != 0 &&       // s_blocks_per_group
                             super.le32(0x28) != 0 &&       // s_inodes_per_group
                             (super.le32(0x4c) == 0 ||      // s_rev_level
                              (super.le32(0x60) & kIncompatJournalDev) == 0);
  return is_filesystem ? "ext" : std::string_view();
}

}  // namespace peelfs
