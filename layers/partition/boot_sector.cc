#include "partition/boot_sector.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string_view>

namespace peelfs {

namespace {

// The BIOS parameter block of FAT ("FAT: General Overview of On-Disk Format", BPB), at the offsets
// of its fields in sector 0.
constexpr std::size_t kBytsPerSec = 11;
constexpr std::size_t kSecPerClus = 13;
constexpr std::size_t kRsvdSecCnt = 14;
constexpr std::size_t kNumFATs = 16;
constexpr std::size_t kRootEntCnt = 17;
constexpr std::size_t kTotSec16 = 19;
constexpr std::size_t kMedia = 21;
constexpr std::size_t kFATSz16 = 22;
constexpr std::size_t kTotSec32 = 32;
constexpr std::size_t kFATSz32 = 36;
constexpr std::uint64_t kMostClusters16 = 0xFFF4;
constexpr std::uint64_t kMostClusters32 = 0x0FFFFFF6;

// MBR boot code may have a jump at 0 and anything behind it; a whole BPB whose numbers agree with
// one another does not come about by chance.
bool has_fat_parameters(const ByteReader& sector) {
  const std::uint32_t sector_size = sector.le16(kBytsPerSec);
  const std::uint32_t per_cluster = sector.u8(kSecPerClus);
  const std::uint64_t reserved = sector.le16(kRsvdSecCnt);
  const std::uint64_t fats = sector.u8(kNumFATs);
  const unsigned media = sector.u8(kMedia);
  if (!std::has_single_bit(sector_size) || sector_size < 512 || sector_size > 4096) return false;
  if (!std::has_single_bit(per_cluster)) return false;
  if (reserved == 0 || fats == 0) return false;
  if (media != 0xF0 && media < 0xF8) return false;

  const std::uint64_t fat_length =
      sector.le16(kFATSz16) != 0 ? sector.le16(kFATSz16) : sector.le32(kFATSz32);
  const std::uint64_t total =
      sector.le16(kTotSec16) != 0 ? sector.le16(kTotSec16) : sector.le32(kTotSec32);
  const std::uint64_t root = div_round_up(sector.le16(kRootEntCnt) * 32ULL, sector_size);
  const std::uint64_t overhead = reserved + fats * fat_length + root;  // each term is below 2^41
  const std::uint64_t most = sector.le16(kFATSz16) != 0 ? kMostClusters16 : kMostClusters32;
  return fat_length != 0 && total >= overhead && (total - overhead) / per_cluster <= most;
}

}  // namespace

bool is_filesystem_boot_sector(Bytes bytes, const Identity& identity) {
  static constexpr std::array<std::string_view, 6> kTypes = {"vfat", "ntfs", "exfat",
                                                             "hpfs", "ReFS", "BitLocker"};
  if (std::find(kTypes.begin(), kTypes.end(), identity.type) != kTypes.end()) return true;

  const ByteReader sector(bytes, "boot sector");
  // The OEM name of filesystems whose boot sector has no BPB of FAT.
  static constexpr std::array<std::string_view, 4> kOemNames = {
      "NTFS    ", "EXFAT   ", "-FVE-FS-", {"ReFS\0", 5}};
  if (std::any_of(kOemNames.begin(), kOemNames.end(),
                  [&](std::string_view name) { return sector.has(3, name); })) {
    return true;
  }
  // OS/2 puts a pseudo-BPB in front of these; its numbers need not agree.
  if (sector.has(0x36, "HPFS    ") || sector.has(0x36, "JFS     ")) return true;
  return has_fat_parameters(sector);
}

}  // namespace peelfs
