#include "identify/regions.h"

#include <algorithm>
#include <array>

namespace peelfs {

namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;

}  // namespace

void fill_fixed_regions(SparseCopy& copy) {
  // Boot sectors, superblocks up to 256 KiB (UFS), ZFS labels 0 and 1, UDF anchors of blocks up to
  // 2 KiB.
  copy.fill(0, 640 * kKiB);
  // The last: MD 0.90 (64 KiB aligned), MD 1.0, DDF (257 sectors), firmware RAIDs, the backup GPT
  // with 4096-byte blocks, NILFS2's second superblock, the fourth ZFS label (256 KiB aligned).
  const std::uint64_t size = copy.device().size();
  copy.fill(size - std::min(size, 512 * kKiB), 512 * kKiB);
  copy.fill(1 * kMiB, 64 * kKiB);  // VMFS volume, UDF anchor
  copy.fill(2 * kMiB, 64 * kKiB);  // VMFS, UDF anchor of 4 KiB blocks, LUKS2 secondary header
  copy.fill(4 * kMiB, 4 * kKiB);   // LUKS2 secondary header
  // Promise FastTrak keeps its metadata this many sectors before the end (those nearer are in).
  constexpr std::uint64_t kFastTrakFarthest = 3087;
  constexpr std::uint64_t kSector = 512;
  if (size / kSector >= kFastTrakFarthest) {
    copy.fill((size / kSector - kFastTrakFarthest) * kSector, 4 * kKiB);
  }
}

void fill_mbr(SparseCopy& copy) {
  constexpr std::size_t kTable = 446;
  constexpr std::size_t kEntry = 16;
  constexpr unsigned kMostRecords = 64;
  const auto extended = [](unsigned type) { return type == 0x05 || type == 0x0F || type == 0x85; };
  // The first extended partition's start, and where in it the next record is: 32-bit numbers in 64
  // bits.
  const std::uint64_t unit = copy.device().sector_size();
  std::uint64_t first = 0;
  std::uint64_t record = 0;
  for (unsigned count = 0; count < kMostRecords; ++count) {
    const Buffer bytes = copy.look(record * unit, 512);
    const ByteReader sector(bytes, "boot record");
    if (sector.le16(510) != 0xAA55) return;
    if (count != 0) copy.fill(record * unit, 512);
    std::uint64_t next = 0;
    for (std::size_t at = kTable; at < kTable + 4 * kEntry && next == 0; at += kEntry) {
      if (extended(sector.u8(at + 4)) && sector.le32(at + 12) != 0) next = sector.le32(at + 8);
    }
    if (next == 0) return;
    if (count == 0) first = next;
    record = count == 0 ? first : first + next;
  }
}

void fill_gpt(SparseCopy& copy) {
  constexpr std::uint64_t kMostArray = 4 * kMiB;
  const std::uint64_t size = copy.device().size();
  for (const std::uint64_t block : {512U, 1024U, 2048U, 4096U}) {
    if (size < 3 * block) return;
    for (const std::uint64_t lba : {std::uint64_t{1}, size / block - 1}) {
      const Buffer bytes = copy.look(lba * block, 92);
      const ByteReader header(bytes, "GPT header");
      if (!header.has(0, "EFI PART")) continue;
      const std::uint64_t array = std::uint64_t{header.le32(80)} * header.le32(84);
      const std::uint64_t array_lba = header.le64(72);
      if (array > kMostArray) {
        copy.hide(lba * block, 8);
      } else if (array_lba < size / block) {
        copy.fill(array_lba * block, array);
      }
    }
  }
}

void fill_ddf(SparseCopy& copy) {
  constexpr std::uint64_t kSector = 512;
  const std::uint64_t sectors = copy.device().size() / kSector;
  for (const std::uint64_t from_end : {1U, 257U}) {
    if (sectors < from_end) return;
    const Buffer bytes = copy.look((sectors - from_end) * kSector, 128);
    const ByteReader header(bytes, "DDF header");
    constexpr std::uint32_t kMagic = 0xDE11DE11;
    const bool big_endian = header.be32(0) == kMagic;
    if (!big_endian && header.le32(0) != kMagic) continue;
    const std::uint64_t primary = big_endian ? header.be64(96) : header.le64(96);
    if (primary < sectors) copy.fill(primary * kSector, kSector);
    return;
  }
}

void fill_zfs(SparseCopy& copy) {
  constexpr std::uint64_t kLabel = 256 * kKiB;
  constexpr std::uint64_t kUberblocks = 128 * kKiB;  // of a label
  const std::uint64_t size = copy.device().size();
  if (size < 64 * kMiB) return;
  const std::uint64_t end = round_down(size, kLabel);
  // Uberblocks have their magic every KiB to 8 KiB, in the byte order of the host that wrote them.
  for (const std::uint64_t label : {std::uint64_t{0}, kLabel, end - kLabel}) {
    const Buffer bytes = copy.look(label + kUberblocks, 64 * kKiB);
    const ByteReader ring(bytes, "ZFS uberblock ring");
    for (std::size_t at = 0; at < bytes.size(); at += kKiB) {
      constexpr std::uint64_t kMagic = 0x00BAB10C;
      if (ring.le64(at) != kMagic && ring.be64(at) != kMagic) continue;
      copy.fill(end - 2 * kLabel, 2 * kLabel);
      return;
    }
  }
}

void fill_hfsplus(SparseCopy& copy) {
  constexpr std::uint64_t kHeader = 1024;
  std::uint64_t volume = 0;
  {
    const Buffer bytes = copy.look(kHeader, 162);
    const ByteReader mdb(bytes, "HFS master directory block");
    if (mdb.has(0, "BD")) {
      if (!mdb.has(124, "H+") && !mdb.has(124, "HX")) return;  // drEmbedSigWord
      // drAlBlSt, drAlBlkSiz, drEmbedExtent: 16 and 32 bits, so no overflow
      volume = mdb.be16(28) * 512ULL + std::uint64_t{mdb.be16(126)} * mdb.be32(20);
    } else if (!mdb.has(0, "H+") && !mdb.has(0, "HX")) {
      return;
    }
  }
  copy.fill(volume + kHeader, 512);
  const Buffer bytes = copy.look(volume + kHeader, 512);
  const ByteReader header(bytes, "HFS+ volume header");
  const std::uint64_t block = header.be32(40);
  struct Extent32 {
    std::uint32_t start, count;
  };
  std::array<Extent32, 8> extents{};
  for (std::size_t i = 0; i < extents.size(); ++i) {  // catalogFile.extents
    extents.at(i) = {header.be32(288 + i * 8), header.be32(292 + i * 8)};
  }
  const std::uint64_t catalog = volume + extents[0].start * block;  // 32 x 32 bits
  copy.fill(catalog, 8 * kKiB);
  const Buffer node_bytes = copy.look(catalog, 64);
  const ByteReader node(node_bytes, "HFS+ catalog header node");
  const std::uint64_t leaf = node.be32(24);       // BTHeaderRec.firstLeafNode
  const std::uint64_t node_size = node.be16(32);  // BTHeaderRec.nodeSize
  if (block == 0) return;
  std::uint64_t leaf_block = leaf * node_size / block;
  for (const Extent32& extent : extents) {
    if (extent.count == 0) return;
    if (leaf_block < extent.count) {
      copy.fill(volume + (extent.start + leaf_block) * block, node_size);
      return;
    }
    leaf_block -= extent.count;
  }
}

void fill_udf(SparseCopy& copy) {
  constexpr std::uint64_t kSequence = 64 * kKiB;
  for (const std::uint64_t block : {512U, 1024U, 2048U, 4096U}) {
    for (const std::uint64_t at : {256U, 512U}) {
      const Buffer bytes = copy.look(at * block, 24);
      const ByteReader anchor(bytes, "UDF anchor");
      if (anchor.le16(0) != 2 || anchor.le32(12) != at) continue;
      copy.fill(anchor.le32(20) * block, std::min<std::uint64_t>(anchor.le32(16), kSequence));
    }
  }
}

void fill_befs(SparseCopy& copy) {
  for (const std::uint64_t at : {0U, 512U}) {
    const Buffer bytes = copy.look(at, 128);
    const ByteReader super(bytes, "BeFS superblock");
    const bool little = super.has(32, "1SFB");
    if (!little && !super.has(32, "BFS1")) continue;
    const auto number = [&](std::size_t where) {
      return little ? super.le32(where) : super.be32(where);
    };
    const std::uint64_t shift = number(44);
    const std::uint64_t group_shift = number(76);
    const std::uint64_t group = number(116);
    const std::uint64_t start = little ? super.le16(120) : super.be16(120);
    const unsigned length = little ? super.le16(122) : super.be16(122);
    const bool sane = shift >= 10 && shift <= 13 && group_shift <= 18 && length == 1;
    if (!sane) {
      copy.hide(at + 32, 4);
      continue;
    }
    const std::uint64_t inode = ((group << group_shift) + start) << shift;  // 32 + 18 + 13 bits
    copy.fill(inode, 1ULL << shift);
    // Without the volume id in the inode itself libblkid would walk a B+ tree with unchecked
    // numbers.
    constexpr std::uint64_t kAttributes = 52;
    copy.hide(inode + kAttributes, 8);
  }
}

}  // namespace peelfs
