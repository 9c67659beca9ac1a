// On-disk structures of ext2, ext3 and ext4, as the kernel's Documentation/filesystems/ext4/ names
// them: the super block, directory entries, and the nodes of block maps. All fields are
// little-endian. Inodes and group descriptors are decoded by libext2fs (library.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "peelfs/bytes.h"

namespace peelfs::ext {

constexpr std::uint64_t kSuperBlockOffset = 1024;
constexpr std::size_t kSuperBlockSize = 1024;
constexpr std::uint32_t kRootInode = 2;

/// s_state
constexpr std::uint16_t kStateValid = 0x0001;
constexpr std::uint16_t kStateError = 0x0002;
constexpr std::uint16_t kStateOrphan = 0x0004;

/// s_feature_compat
constexpr std::uint32_t kCompatHasJournal = 0x0004;

/// s_feature_incompat
constexpr std::uint32_t kIncompatFiletype = 0x0002;
constexpr std::uint32_t kIncompatRecover = 0x0004;
constexpr std::uint32_t kIncompatJournalDev = 0x0008;
constexpr std::uint32_t kIncompatMetaBg = 0x0010;
constexpr std::uint32_t kIncompatExtents = 0x0040;
constexpr std::uint32_t kIncompat64bit = 0x0080;
constexpr std::uint32_t kIncompatMmp = 0x0100;
constexpr std::uint32_t kIncompatFlexBg = 0x0200;
constexpr std::uint32_t kIncompatEaInode = 0x0400;
constexpr std::uint32_t kIncompatCsumSeed = 0x2000;
constexpr std::uint32_t kIncompatLargedir = 0x4000;
constexpr std::uint32_t kIncompatInlineData = 0x8000;
constexpr std::uint32_t kIncompatEncrypt = 0x10000;
constexpr std::uint32_t kIncompatCasefold = 0x20000;
constexpr std::uint32_t kIncompatSupported =
    kIncompatFiletype | kIncompatRecover | kIncompatMetaBg | kIncompatExtents | kIncompat64bit |
    kIncompatMmp | kIncompatFlexBg | kIncompatEaInode | kIncompatCsumSeed | kIncompatLargedir |
    kIncompatInlineData | kIncompatEncrypt | kIncompatCasefold;

/// s_feature_ro_compat
constexpr std::uint32_t kRoCompatHugeFile = 0x0008;
constexpr std::uint32_t kRoCompatGdtCsum = 0x0010;
constexpr std::uint32_t kRoCompatBigalloc = 0x0200;
constexpr std::uint32_t kRoCompatMetadataCsum = 0x0400;
constexpr std::uint32_t kRoCompatOrphanPresent = 0x10000;

/// i_flags
constexpr std::uint32_t kFlagCompressed = 0x00000200;  ///< EXT2_COMPRBLK_FL
constexpr std::uint32_t kFlagEncrypted = 0x00000800;   ///< EXT4_ENCRYPT_FL
constexpr std::uint32_t kFlagHugeFile = 0x00040000;    ///< EXT4_HUGE_FILE_FL
constexpr std::uint32_t kFlagExtents = 0x00080000;     ///< EXT4_EXTENTS_FL
constexpr std::uint32_t kFlagEaInode = 0x00200000;     ///< EXT4_EA_INODE_FL
constexpr std::uint32_t kFlagInlineData = 0x10000000;  ///< EXT4_INLINE_DATA_FL

/// The super block (struct ext4_super_block): what peelfs needs of it.
struct SuperBlock {
  std::uint32_t inodes_count = 0;       ///< 0x00 s_inodes_count
  std::uint64_t blocks_count = 0;       ///< 0x04 s_blocks_count_lo, 0x150 s_blocks_count_hi
  std::uint32_t first_data_block = 0;   ///< 0x14 s_first_data_block
  std::uint32_t block_size = 0;         ///< bytes; 0x18 s_log_block_size
  std::uint32_t blocks_per_group = 0;   ///< 0x20 s_blocks_per_group
  std::uint32_t inodes_per_group = 0;   ///< 0x28 s_inodes_per_group
  std::uint16_t state = 0;              ///< 0x3a s_state
  std::uint32_t revision = 0;           ///< 0x4c s_rev_level
  std::uint16_t inode_size = 128;       ///< 0x58 s_inode_size
  std::uint32_t feature_compat = 0;     ///< 0x5c s_feature_compat
  std::uint32_t feature_incompat = 0;   ///< 0x60 s_feature_incompat
  std::uint32_t feature_ro_compat = 0;  ///< 0x64 s_feature_ro_compat
  std::string uuid;                     ///< 0x68 s_uuid, as text
  std::string volume_name;              ///< 0x78 s_volume_name, raw
  std::string last_mounted;             ///< 0x88 s_last_mounted, raw
  std::uint32_t last_orphan = 0;        ///< 0xe8 s_last_orphan
  std::uint16_t descriptor_size = 32;   ///< 0xfe s_desc_size
  std::uint32_t error_count = 0;        ///< 0x194 s_error_count
  std::uint32_t checksum_seed = 0;      ///< 0x270 s_checksum_seed, or made from s_uuid
  bool checksum_wrong = false;          ///< 0x3fc s_checksum, where metadata_csum makes it count

  bool has_incompat(std::uint32_t feature) const { return (feature_incompat & feature) != 0; }
  bool has_ro_compat(std::uint32_t feature) const { return (feature_ro_compat & feature) != 0; }
  std::uint64_t group_count() const {
    return div_round_up(blocks_count - first_data_block, blocks_per_group);
  }
  /// "ext2", "ext3" or "ext4", by its features, as libblkid tells them apart.
  std::string type() const;
};

/// @param bytes kSuperBlockSize bytes from kSuperBlockOffset
/// @return nullopt when it does not begin like a super block (no magic)
/// @throws Error(Fault::damaged) when its fields contradict each other: nothing can be found by it
std::optional<SuperBlock> decode_super_block(Bytes bytes);

/// The names of those incompatible features that peelfs cannot read: "compression, dirdata".
std::string unsupported_features(std::uint32_t feature_incompat);

/// crc32c as ext4 uses it: no inversion at the end. @param seed ~0 or an earlier result
std::uint32_t checksum(std::uint32_t seed, Bytes bytes);
/// The seed of everything that belongs to one inode: its number and generation are part of it.
std::uint32_t inode_checksum_seed(std::uint32_t checksum_seed, std::uint32_t inode,
                                  std::uint32_t generation);

/// One entry of an extent tree's node.
struct ExtentEntry {
  std::uint32_t logical = 0;   ///< ee_block or ei_block: first block of the file
  std::uint32_t length = 0;    ///< blocks (ee_len); 0 in an index node
  std::uint64_t physical = 0;  ///< ee_start or ei_leaf: block of the filesystem
  bool unwritten = false;      ///< allocated, reads as zero
};

/// A node of an extent tree (struct ext4_extent_header and what follows it).
struct ExtentNode {
  std::uint16_t depth = 0;           ///< eh_depth: 0 in a leaf
  std::vector<ExtentEntry> entries;  ///< in ascending order, without overlap
};

/// @param bytes a block, or the 60 bytes of i_block
/// @param seed the inode's checksum seed when the node carries a checksum (never the root does)
/// @throws Error(Fault::damaged) when it contradicts the specification in itself
ExtentNode decode_extent_node(Bytes bytes, std::optional<std::uint32_t> seed);

/// One used entry of a directory (struct ext4_dir_entry_2).
struct DirectoryEntry {
  std::uint32_t inode = 0;
  std::uint8_t file_type = 0;  ///< 1 regular, 2 directory, 7 symbolic link; 0 unknown
  std::string_view name;       ///< raw; it refers to the bytes decoded
};

/// Decodes the entry at `at` and moves `at` to the next one.
/// @param bytes a directory block
/// @return nullopt for an unused one
/// @throws Error(Fault::damaged) when it leaves the block: nothing behind it can be read
std::optional<DirectoryEntry> decode_directory_entry(Bytes bytes, std::size_t& at,
                                                     bool has_file_type);

/// Whether a directory block's own checksum fits; nullopt when it carries none (nodes of the hash
/// index are checked otherwise, and hold no names but those of "." and "..").
std::optional<bool> directory_checksum_fits(Bytes block, std::uint32_t seed);

}  // namespace peelfs::ext
