#include "ext/write/write_policy.h"

#include <algorithm>

#include "peelfs/bytes.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::ext {

namespace {

// s_feature_ro_compat: "who does not know it must not write".
constexpr std::uint32_t kLargeFile = 0x0002;
constexpr std::uint32_t kQuota = 0x0100;
constexpr std::uint32_t kProject = 0x2000;
constexpr std::uint32_t kVerity = 0x8000;
constexpr std::uint32_t kKnownToWriters =
    0x0001 | kLargeFile | 0x0004 | kRoCompatHugeFile | kRoCompatGdtCsum | 0x0020 | 0x0040 | kQuota |
    kRoCompatBigalloc | kRoCompatMetadataCsum | kProject | kVerity | kRoCompatOrphanPresent;

// i_flags
constexpr std::uint32_t kImmutable = 0x00000010;
constexpr std::uint32_t kAppendOnly = 0x00000020;
constexpr std::uint32_t kFileVerity = 0x00100000;
constexpr std::uint32_t kSnapshotFile = 0x01000000;

/// peelfs itself may have been writing to the filesystem when its super block was first read.
bool is_clean_now(const Volume& volume) {
  const auto super =
      decode_super_block(read_bytes(volume.device(), kSuperBlockOffset, kSuperBlockSize));
  return super && (super->state & kStateValid) != 0;
}

}  // namespace

std::string why_no_writes(const Volume& volume, bool ours) {
  const SuperBlock& super = volume.super();
  if (super.has_incompat(kIncompatRecover)) {
    return "its filesystem's journal needs recovery, which would undo writes: run e2fsck first";
  }
  if (const std::uint32_t unknown = super.feature_ro_compat & ~kKnownToWriters; unknown != 0) {
    return "its filesystem has features that only its own kernel may write with (" + hex(unknown) +
           ")";
  }
  if (super.has_incompat(kIncompatMmp)) {
    return "its filesystem has multi-mount protection: another host may have it mounted";
  }
  if ((super.state & kStateError) != 0 || super.error_count != 0 || super.checksum_wrong) {
    return "its filesystem has errors: run e2fsck first";
  }
  const bool orphans = super.last_orphan != 0 || (super.state & kStateOrphan) != 0 ||
                       super.has_ro_compat(kRoCompatOrphanPresent);
  if (!ours && orphans) return "its filesystem has deleted files that are open: run e2fsck first";
  if (!ours && (super.state & kStateValid) == 0 && !is_clean_now(volume)) {
    return "its filesystem is mounted, or was not cleanly unmounted: if nobody has it mounted, run "
           "e2fsck -p on the device that holds it, in this same mount";
  }
  if (super.blocks_count * super.block_size > volume.device().size()) {
    return "its filesystem is larger than the device";
  }
  return {};
}

std::string why_no_writes(const Inode& inode) {
  if (inode.type != Inode::Type::regular || inode.number < 11) return "it is no regular file";
  if (inode.has(kImmutable)) return "the file is marked as immutable (chattr -i changes that)";
  if (inode.has(kAppendOnly)) return "the file is marked as append-only (chattr -a changes that)";
  if (inode.has(kFileVerity)) return "the file is sealed by fs-verity";
  if (inode.has(kSnapshotFile)) return "the file is a snapshot";
  if (inode.has(kFlagInlineData)) return "the file lies in its inode";
  return {};
}

std::string why_no_allocation(const Volume& volume) {
  const SuperBlock& super = volume.super();
  std::string features;
  const auto add = [&features](bool has, const char* name) {
    if (has) features += (features.empty() ? "" : ", ") + std::string(name);
  };
  add(super.has_ro_compat(kQuota), "quota");
  add(super.has_ro_compat(kProject), "project");
  add(super.has_ro_compat(kRoCompatBigalloc), "bigalloc");
  add(super.has_ro_compat(kVerity), "verity");
  add(super.has_incompat(kIncompatInlineData), "inline_data");
  add(super.has_incompat(kIncompatEncrypt), "encrypt");
  if (features.empty()) return {};
  return "peelfs allocates no space in a filesystem with the features " + features;
}

std::uint64_t greatest_size(const Volume& volume, const Inode& inode) {
  const SuperBlock& super = volume.super();
  const std::uint64_t fan_out = super.block_size / 4;
  const std::uint64_t blocks = inode.has(kFlagExtents)
                                   ? (1ULL << 32U) - 1
                                   : 12 + fan_out + fan_out * fan_out + fan_out * fan_out * fan_out;
  std::uint64_t most = blocks * super.block_size;
  // i_blocks counts 512 bytes in 32 bits, block maps included.
  if (!super.has_ro_compat(kRoCompatHugeFile)) {
    most = std::min<std::uint64_t>(most, 2040ULL << 30U);
  }
  if (!super.has_ro_compat(kLargeFile)) most = std::min<std::uint64_t>(most, 0x7fffffff);
  return std::max(most, inode.size);
}

}  // namespace peelfs::ext
