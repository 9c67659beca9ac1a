#include "ext/ext_disk.h"

#include <array>
#include <bit>

#include <ext2fs/ext2fs.h>

#include "peelfs/error.h"
#include "peelfs/figure.h"

namespace peelfs::ext {

namespace {

constexpr std::uint16_t kSuperMagic = 0xef53;
constexpr std::uint32_t kMaxLogBlockSize = 6;  // 64 KiB
constexpr std::uint16_t kExtentMagic = 0xf30a;
constexpr std::uint16_t kMaxExtentDepth = 5;
constexpr std::size_t kExtentEntrySize = 12;         // that of the header, too
constexpr std::uint16_t kMaxWrittenLength = 0x8000;  // a longer ee_len means unwritten
constexpr std::size_t kEntryHeaderSize = 8;
constexpr std::size_t kEntryTailSize = 12;

Error contradiction(const std::string& what) {
  return Error(Fault::damaged, "ext super block: " + what);
}

std::uint32_t decode_block_size(const ByteReader& reader) {
  const std::uint32_t log_block_size = reader.le32(0x18);
  if (log_block_size > kMaxLogBlockSize) {
    throw contradiction("s_log_block_size makes no block size")
        .found(std::to_string(log_block_size))
        .expected("0 to " + std::to_string(kMaxLogBlockSize));
  }
  return 1024U << log_block_size;
}

std::uint16_t decode_inode_size(const ByteReader& reader, const SuperBlock& super) {
  if (super.revision == 0) return 128;
  const std::uint16_t size = reader.le16(0x58);
  if (size < 128 || size > super.block_size || !std::has_single_bit(size)) {
    throw contradiction("s_inode_size is impossible")
        .found(std::to_string(size))
        .expected("a power of two from 128 to the block size, " + std::to_string(super.block_size));
  }
  return size;
}

std::uint16_t decode_descriptor_size(const ByteReader& reader, const SuperBlock& super) {
  if (!super.has_incompat(kIncompat64bit)) return 32;
  const std::uint16_t size = reader.le16(0xfe);
  if (size < 64 || size > 1024 || !std::has_single_bit(size)) {
    throw contradiction("s_desc_size is impossible")
        .found(std::to_string(size))
        .expected("a power of two from 64 to 1024");
  }
  return size;
}

void check_groups(const ByteReader& reader, const SuperBlock& super) {
  const bool bigalloc = super.has_ro_compat(kRoCompatBigalloc);
  const std::uint32_t log_cluster_size = bigalloc ? reader.le32(0x1c) : reader.le32(0x18);
  if (log_cluster_size > 20 || log_cluster_size < reader.le32(0x18)) {
    throw contradiction("s_log_cluster_size is impossible")
        .found(std::to_string(log_cluster_size))
        .expected(std::to_string(reader.le32(0x18)) + " (the block size's) to 20");
  }
  const std::uint64_t blocks_a_cluster = 1ULL << (log_cluster_size - reader.le32(0x18));
  // The group's bitmap, one bit a cluster, is one block.
  const std::uint64_t most = 8ULL * super.block_size * blocks_a_cluster;
  if (super.blocks_per_group == 0 || super.blocks_per_group > most) {
    throw contradiction("s_blocks_per_group is impossible")
        .found(std::to_string(super.blocks_per_group))
        .expected("1 to " + std::to_string(most));
  }
  if (super.inodes_per_group == 0 || super.inodes_per_group > 8ULL * super.block_size) {
    throw contradiction("s_inodes_per_group is impossible")
        .found(std::to_string(super.inodes_per_group))
        .expected("1 to " + std::to_string(8ULL * super.block_size));
  }
  if (super.first_data_block >= super.blocks_count || super.first_data_block > 1) {
    throw contradiction("s_first_data_block is impossible")
        .found(std::to_string(super.first_data_block) + " of " +
               std::to_string(super.blocks_count) + " blocks")
        .expected("0, or 1 where blocks are 1024 bytes");
  }
  // ext4_extent has 48 bits for a block: more cannot be addressed, and bytes stay below 2^64.
  if (super.blocks_count >> 48U != 0) {
    throw contradiction("s_blocks_count is impossible")
        .found(figure(super.blocks_count, super.block_size))
        .expected("below 2^48");
  }
}

}  // namespace

std::string SuperBlock::type() const {
  constexpr std::uint32_t kExt3Incompat = kIncompatFiletype | kIncompatRecover | kIncompatMetaBg;
  constexpr std::uint32_t kExt3RoCompat = 0x0001 | 0x0002 | 0x0004;  // sparse, large file, btree
  if ((feature_incompat & ~kExt3Incompat) != 0 || (feature_ro_compat & ~kExt3RoCompat) != 0) {
    return "ext4";
  }
  return (feature_compat & kCompatHasJournal) != 0 ? "ext3" : "ext2";
}

std::optional<SuperBlock> decode_super_block(Bytes bytes) {
  const ByteReader reader(bytes, "ext super block");
  if (bytes.size() < kSuperBlockSize || reader.le16(0x38) != kSuperMagic) return std::nullopt;
  SuperBlock super;
  super.block_size = decode_block_size(reader);
  super.inodes_count = reader.le32(0x00);
  super.first_data_block = reader.le32(0x14);
  super.blocks_per_group = reader.le32(0x20);
  super.inodes_per_group = reader.le32(0x28);
  super.state = reader.le16(0x3a);
  super.revision = reader.le32(0x4c);
  if (super.revision > 0) {
    super.feature_compat = reader.le32(0x5c);
    super.feature_incompat = reader.le32(0x60);
    super.feature_ro_compat = reader.le32(0x64);
  }
  super.blocks_count = reader.le32(0x04);
  if (super.has_incompat(kIncompat64bit)) {
    super.blocks_count |= static_cast<std::uint64_t>(reader.le32(0x150)) << 32U;
  }
  super.uuid = uuid_text(reader.bytes(0x68, 16));
  super.volume_name = reader.text(0x78, 16);
  super.last_mounted = reader.text(0x88, 64);
  super.last_orphan = reader.le32(0xe8);
  super.error_count = reader.le32(0x194);
  // A journal device shares nothing but the magic with a filesystem, and its fields mean nothing.
  if (super.has_incompat(kIncompatJournalDev)) return super;
  super.inode_size = decode_inode_size(reader, super);
  super.descriptor_size = decode_descriptor_size(reader, super);
  check_groups(reader, super);
  super.checksum_seed = super.has_incompat(kIncompatCsumSeed)
                            ? reader.le32(0x270)
                            : checksum(~0U, reader.bytes(0x68, 16));
  if (super.has_ro_compat(kRoCompatMetadataCsum)) {
    super.checksum_wrong = checksum(~0U, reader.bytes(0, 0x3fc)) != reader.le32(0x3fc);
  }
  return super;
}

std::string unsupported_features(std::uint32_t feature_incompat) {
  std::string names;
  const std::uint32_t unknown = feature_incompat & ~kIncompatSupported;
  for (unsigned bit = 0; bit < 32; ++bit) {
    if ((unknown & (1U << bit)) == 0) continue;
    if (!names.empty()) names += ", ";
    switch (1U << bit) {
      case 0x0001:
        names += "compression";
        break;
      case kIncompatJournalDev:
        names += "journal_dev";
        break;
      case 0x1000:
        names += "dirdata";
        break;
      default:
        names += "incompatible feature bit " + std::to_string(bit);
    }
  }
  return names;
}

std::uint32_t checksum(std::uint32_t seed, Bytes bytes) {
  const std::string_view text = as_text(bytes);
  return ext2fs_crc32c_le(seed, reinterpret_cast<const unsigned char*>(text.data()), text.size());
}

std::uint32_t inode_checksum_seed(std::uint32_t checksum_seed, std::uint32_t inode,
                                  std::uint32_t generation) {
  std::array<std::byte, 8> identity{};
  for (unsigned i = 0; i < 4; ++i) {
    identity.at(i) = static_cast<std::byte>(inode >> (8 * i));
    identity.at(4 + i) = static_cast<std::byte>(generation >> (8 * i));
  }
  return checksum(checksum_seed, identity);
}

ExtentNode decode_extent_node(Bytes bytes, std::optional<std::uint32_t> seed) {
  const ByteReader reader(bytes, "extent tree node");
  const std::uint16_t magic = reader.le16(0);
  if (magic != kExtentMagic) {
    throw Error(Fault::damaged, "extent tree node has no magic")
        .found(hex(magic))
        .expected(hex(kExtentMagic));
  }
  const std::uint16_t count = reader.le16(2);
  const std::uint16_t max = reader.le16(4);
  ExtentNode node;
  node.depth = reader.le16(6);
  const std::size_t capacity = bytes.size() / kExtentEntrySize - 1;
  if (max == 0 || max > capacity || count > max) {
    throw Error(Fault::damaged, "extent tree node counts wrongly (eh_entries, eh_max)")
        .found(std::to_string(count) + " entries of " + std::to_string(max))
        .expected("room for at most " + std::to_string(capacity));
  }
  if (node.depth > kMaxExtentDepth || (node.depth > 0 && count == 0)) {
    throw Error(Fault::damaged, "extent tree node has an impossible eh_depth")
        .found(std::to_string(node.depth) + " with " + std::to_string(count) + " entries")
        .expected("0 to 5, and no empty index node");
  }
  if (seed) {
    const std::size_t tail = kExtentEntrySize * (1U + max);  // et_checksum
    const std::uint32_t actual = checksum(*seed, reader.bytes(0, tail));
    if (actual != reader.le32(tail)) {
      throw Error(Fault::damaged, "extent tree node fails its checksum")
          .found(hex(actual))
          .expected(hex(reader.le32(tail)));
    }
  }
  node.entries.reserve(count);
  std::uint64_t next = 0;  // the first block of the file that the entry may cover
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = kExtentEntrySize * (1 + i);
    ExtentEntry entry;
    entry.logical = reader.le32(at);
    if (node.depth == 0) {
      const std::uint16_t length = reader.le16(at + 4);
      entry.unwritten = length > kMaxWrittenLength;
      entry.length = entry.unwritten ? length - kMaxWrittenLength : length;
      entry.physical = static_cast<std::uint64_t>(reader.le16(at + 6)) << 32U | reader.le32(at + 8);
    } else {
      entry.physical = static_cast<std::uint64_t>(reader.le16(at + 8)) << 32U | reader.le32(at + 4);
    }
    // An index entry covers at least one block, an extent of none is damage.
    const std::uint64_t end =
        static_cast<std::uint64_t>(entry.logical) + (node.depth == 0 ? entry.length : 1);
    if (entry.logical < next || end == entry.logical || end > 1ULL << 32U) {
      throw Error(Fault::damaged, "extents overlap, are out of order or empty")
          .found("entry " + std::to_string(i) + " covers blocks " + std::to_string(entry.logical) +
                 " to " + std::to_string(end) + " of the file")
          .expected("a beginning from " + std::to_string(next) + " on, and an end by 2^32");
    }
    next = end;
    node.entries.push_back(entry);
  }
  return node;
}

std::optional<DirectoryEntry> decode_directory_entry(Bytes bytes, std::size_t& at,
                                                     bool has_file_type) {
  const ByteReader reader(bytes, "directory entry");
  const std::uint32_t inode = reader.le32(at);
  std::size_t length = reader.le16(at + 4);  // rec_len
  if (bytes.size() >= 65536) {
    // 64 KiB does not fit into 16 bits: two spellings of "to the end", and two high bits below.
    length =
        length == 65535 || length == 0 ? bytes.size() : (length & 65532U) | (length & 3U) << 16U;
  }
  // 16 bits once; no name has ever been longer than 255, and the kernel takes the low 8 always.
  const std::size_t name_length = reader.u8(at + 6);
  if (length < kEntryHeaderSize || length % 4 != 0 || length > bytes.size() - at ||
      kEntryHeaderSize + name_length > length) {
    throw Error(Fault::damaged, "directory entry leaves its block")
        .found("rec_len " + std::to_string(length) + ", name_len " + std::to_string(name_length) +
               " at byte " + std::to_string(at))
        .expected("room for the name, and at most the " + std::to_string(bytes.size() - at) +
                  " bytes left in the block");
  }
  const std::size_t name_at = at + kEntryHeaderSize;
  const std::uint8_t type = has_file_type ? reader.u8(at + 7) & 7U : 0;
  at += length;
  if (inode == 0) return std::nullopt;
  return DirectoryEntry{inode, type, as_text(reader.bytes(name_at, name_length))};
}

std::optional<bool> directory_checksum_fits(Bytes block, std::uint32_t seed) {
  if (block.size() < kEntryTailSize) return std::nullopt;
  const ByteReader reader(block, "directory block");
  const std::size_t tail = block.size() - kEntryTailSize;  // struct ext4_dir_entry_tail
  if (reader.le32(tail) != 0 || reader.le16(tail + 4) != kEntryTailSize ||
      reader.u8(tail + 6) != 0 || reader.u8(tail + 7) != 0xde) {
    return std::nullopt;
  }
  // The kernel leaves the same bytes behind where it turns a block into a node of the index: it is
  // a tail only if the entries lead to it.
  try {
    for (std::size_t at = 0; at != tail;) {
      if (at > tail) return std::nullopt;
      (void)decode_directory_entry(block, at, true);
    }
  } catch (const Error&) {
    return std::nullopt;
  }
  return checksum(seed, reader.bytes(0, tail)) == reader.le32(tail + 8);
}

}  // namespace peelfs::ext
