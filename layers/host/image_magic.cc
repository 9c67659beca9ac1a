#include "host/image_magic.h"

#include <array>

#include "foreign/kinds.h"
#include "peelfs/error.h"
#include "peelfs/io.h"
#include "vhd/vhd.h"

namespace peelfs {

namespace {

using namespace std::string_view_literals;

// Holds the last of what is looked at: the GPT header of a disk with sectors of 4096 bytes.
constexpr std::size_t head_size = 8192;
constexpr std::uint64_t min_raw_disk = std::uint64_t{1} << 20U;
constexpr std::uint64_t sector = 512;

struct Magic {
  std::size_t offset;
  std::string_view bytes;
  std::string_view format;
};

constexpr std::array opened{
    Magic{0, "QFI\xfb"sv, "qcow2"},
    Magic{0, "LUKS\xba\xbe"sv, "crypto_LUKS"},
};

constexpr std::array raw_disks{
    Magic{512, "EFI PART"sv, "gpt"},     Magic{4096, "EFI PART"sv, "gpt"},
    Magic{0, "XFSB"sv, "xfs"},           Magic{3, "NTFS    "sv, "ntfs"},
    Magic{54, "FAT16   "sv, "vfat"},     Magic{82, "FAT32   "sv, "vfat"},
    Magic{4086, "SWAPSPACE2"sv, "swap"},
};

template <std::size_t count>
std::optional<std::string_view> find(const std::array<Magic, count>& magics,
                                     const ByteReader& reader) {
  for (const Magic& magic : magics) {
    if (reader.has(magic.offset, magic.bytes)) return magic.format;
  }
  return std::nullopt;
}

bool is_lvm_member(const ByteReader& reader) {
  for (std::size_t at = 0; at < 4 * sector; at += sector) {  // the label is in one of four sectors
    if (reader.has(at, "LABELONE") && reader.has(at + 24, "LVM2 001")) return true;
  }
  return false;
}

/// 0x55 0xaa alone means nothing: a boot loader's files end their sectors like that, too.
bool is_partitioned(const ByteReader& reader, std::uint64_t size) {
  if (!reader.has(510, "\x55\xaa")) return false;
  bool any = false;
  for (std::size_t at = 446; at < 510; at += 16) {
    const std::uint8_t status = reader.u8(at);
    const std::uint8_t type = reader.u8(at + 4);
    const std::uint64_t start = reader.le32(at + 8);
    const std::uint64_t count = reader.le32(at + 12);
    if (status != 0x00 && status != 0x80) return false;
    if (type == 0) continue;
    if (start == 0 || count == 0 || (start + count) * sector > size) return false;
    any = true;
  }
  return any;
}

/// struct ext4_super_block, as far as a filesystem must have it.
bool is_ext_filesystem(const ByteReader& reader) {
  constexpr std::size_t super = 1024;
  constexpr std::uint32_t incompat_journal_dev = 8;
  return reader.le16(super + 0x38) == 0xef53 &&  // s_magic
         reader.le32(super + 0x18) <= 6 &&       // s_log_block_size
         reader.le32(super) != 0 &&              // s_inodes_count
         reader.le32(super + 0x04) != 0 &&       // s_blocks_count_lo
         reader.le32(super + 0x20) != 0 &&       // s_blocks_per_group
         reader.le32(super + 0x28) != 0 &&       // s_inodes_per_group
         (reader.le32(super + 0x4c) == 0 ||      // s_rev_level
          (reader.le32(super + 0x60) & incompat_journal_dev) == 0);
}

}  // namespace

std::optional<std::string_view> container_magic(const BlockDevice& file) {
  const Buffer head = read_up_to(file, 0, sector);
  if (const auto format = find(opened, ByteReader(head, "beginning of a file"))) return format;
  if (const auto format = foreign::image_format(file); !format.empty()) return format;
  return std::nullopt;
}

std::optional<std::string_view> image_magic(const BlockDevice& file) {
  if (const auto format = container_magic(file)) return format;
  const Buffer head = read_up_to(file, 0, head_size);
  const ByteReader reader(head, "beginning of a file");
  if (file.size() < min_raw_disk || file.size() % sector != 0) return std::nullopt;
  if (const auto format = find(raw_disks, reader)) return format;
  if (is_lvm_member(reader)) return "LVM2_member";
  if (is_partitioned(reader, file.size())) return "dos";
  if (is_ext_filesystem(reader)) return "ext";
  // A VHD of fixed size has its footer at the end only.
  if (vhd_probe({file, {}})) return "vhd";
  return std::nullopt;
}

}  // namespace peelfs
