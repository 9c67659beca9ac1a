#include "btrfs/owner.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "peelfs/bytes.h"
#include "peelfs/io.h"

namespace peelfs::btrfs {

namespace {

// The on-disk format's numbers (btrfs.readthedocs.io, "On-disk Format").
constexpr std::array<std::uint64_t, 3> kSuperOffsets{64U << 10U, 64U << 20U, 256ULL << 30U};
constexpr std::size_t kSuperSize = 4096;
constexpr std::size_t kFsidAt = 0x20;
constexpr std::size_t kMagicAt = 0x40;
constexpr std::size_t kNodeSizeAt = 0x94;
constexpr std::size_t kMetadataUuidAt = 0x23b;
constexpr std::size_t kNodeOwnerAt = 0x58;
constexpr std::size_t kNodeLevelAt = 0x64;
constexpr std::uint8_t kMaxLevel = 7;

struct Tree {
  std::uint64_t id;
  const char* name;
};
constexpr std::array<Tree, 12> kTrees{{{1, "root tree"},
                                       {2, "extent tree"},
                                       {3, "chunk tree"},
                                       {4, "device tree"},
                                       {5, "filesystem tree"},
                                       {7, "checksum tree"},
                                       {8, "quota tree"},
                                       {9, "UUID tree"},
                                       {10, "free space tree"},
                                       {11, "block group tree"},
                                       {0xfffffffffffffffaULL, "log tree"},
                                       {0xfffffffffffffff8ULL, "relocation tree"}}};

struct Super {
  std::uint64_t node_size = 0;
  Buffer fsid, metadata_uuid;
};

std::optional<Super> read_super(const BlockDevice& device) {
  for (const std::uint64_t offset : kSuperOffsets) {
    if (device.size() < offset + kSuperSize) break;
    const Buffer bytes = read_bytes(device, offset, kSuperSize);
    const ByteReader reader(bytes, "btrfs superblock");
    if (!reader.has(kMagicAt, "_BHRfS_M")) continue;
    Super super;
    super.node_size = reader.le32(kNodeSizeAt);
    if (super.node_size < 4096 || super.node_size > 65536 ||
        (super.node_size & (super.node_size - 1)) != 0) {
      continue;
    }
    const Bytes fsid = reader.bytes(kFsidAt, 16);
    const Bytes metadata = reader.bytes(kMetadataUuidAt, 16);
    super.fsid.assign(fsid.begin(), fsid.end());
    super.metadata_uuid.assign(metadata.begin(), metadata.end());
    return super;
  }
  return std::nullopt;
}

std::string tree_name(std::uint64_t owner) {
  const auto* const known = std::find_if(kTrees.begin(), kTrees.end(),
                                         [&](const Tree& tree) { return tree.id == owner; });
  if (known != kTrees.end()) return known->name;
  return owner >= 256 && owner < (1ULL << 48U) ? "subvolume " + std::to_string(owner) : "";
}

/// What the block at `offset`, a multiple of the node size, says it is.
Filesystem::Owner node_owner(const BlockDevice& device, const Super& super, std::uint64_t offset) {
  using Kind = Filesystem::Owner::Kind;
  const Filesystem::Owner data{Kind::data, {}, {}};
  for (const std::uint64_t place : kSuperOffsets) {
    if (offset <= place && place < offset + super.node_size) {
      return {Kind::structure, {}, "superblock"};
    }
  }
  if (device.size() - offset < 101) return data;
  const Buffer bytes = read_bytes(device, offset, 101);
  const ByteReader header(bytes, "btrfs node");
  const Bytes fsid = header.bytes(kFsidAt, 16);
  const bool ours = std::equal(fsid.begin(), fsid.end(), super.fsid.begin()) ||
                    std::equal(fsid.begin(), fsid.end(), super.metadata_uuid.begin());
  if (!ours || header.u8(kNodeLevelAt) > kMaxLevel) return data;
  std::string name = tree_name(header.le64(kNodeOwnerAt));
  if (name.empty()) return data;
  return {Kind::structure, {}, std::move(name)};
}

}  // namespace

std::vector<Filesystem::OwnedRange> find_owners(const BlockDevice& device,
                                                std::span<const ByteRange> ranges) {
  std::vector<Filesystem::OwnedRange> result;
  const auto super = read_super(device);
  if (!super) return result;
  for (const ByteRange& range : ranges) {
    for (std::uint64_t at = range.offset; at < range.offset + range.length;) {
      const std::uint64_t node = round_down(at, super->node_size);
      const std::uint64_t end = std::min(node + super->node_size, range.offset + range.length);
      append(result, at, end, node_owner(device, *super, node));
      at = end;
    }
  }
  return result;
}

}  // namespace peelfs::btrfs
