// The filesystems of DOS and Windows: NTFS, FAT, exFAT, BitLocker.
#include <algorithm>
#include <bit>

#include "identify/regions.h"

namespace peelfs {

namespace {

constexpr std::uint64_t kKiB = 1024;
// How much of a root directory is looked through for the label.
constexpr std::uint64_t kMostDirectory = 1024 * kKiB;
constexpr unsigned kMostClusters = 100;

}  // namespace

void fill_ntfs(SparseCopy& copy) {
  const Buffer bytes = copy.look(0, 512);
  const ByteReader boot(bytes, "NTFS boot sector");
  if (!boot.has(3, "NTFS    ")) return;
  const std::uint64_t sector = boot.le16(11);
  const unsigned cluster_code = boot.u8(13);
  const unsigned record_code = boot.u8(64);  // above 127: 2 to the power of minus that, in bytes
  // Clusters of more than 128 sectors (Windows 10) are a negative power of two as well.
  const std::uint64_t cluster_sectors =
      cluster_code < 240 ? cluster_code : 1ULL << (256U - cluster_code);
  const std::uint64_t cluster = sector * cluster_sectors;
  const std::uint64_t record = record_code < 128         ? record_code * cluster
                               : record_code >= 256 - 30 ? 1ULL << (256U - record_code)
                                                         : 0;
  constexpr std::uint64_t kMostRecord = 1024 * kKiB;
  const std::uint64_t first = boot.le64(48);  // "logical cluster number for the file $MFT"
  if (cluster == 0 || record == 0 || record > kMostRecord) {
    copy.hide(3, 8);
    return;
  }
  if (first > copy.device().size() / cluster) return;
  constexpr std::uint64_t kVolume = 3;  // record number of $Volume
  copy.fill(first * cluster, 512);
  copy.fill(first * cluster + kVolume * record, record);
}

void fill_fat(SparseCopy& copy) {
  const Buffer bytes = copy.look(0, 512);
  const ByteReader boot(bytes, "FAT boot sector");
  const std::uint64_t sector = boot.le16(11);
  const std::uint64_t cluster = boot.u8(13) * sector;
  const std::uint64_t reserved = boot.le16(14);
  const std::uint64_t fats = boot.u8(16);
  if (!std::has_single_bit(sector) || sector < 512 || sector > 4096 || cluster == 0 ||
      reserved == 0 || fats == 0) {
    return;
  }
  if (const std::uint64_t fat_length = boot.le16(22); fat_length != 0) {
    copy.fill((reserved + fats * fat_length) * sector, boot.le16(17) * 32ULL);
    return;
  }
  const std::uint64_t fat_length = boot.le32(36);
  copy.fill(boot.le16(48) * sector, sector);  // FSInfo
  const std::uint64_t data = (reserved + fats * fat_length) * sector;
  const std::uint64_t entries = fat_length * sector / 4;
  std::uint64_t next = boot.le32(44);
  for (unsigned count = 0; count < kMostClusters && next >= 2 && next < entries; ++count) {
    if (count * cluster > kMostDirectory) return;
    copy.fill(data + (next - 2) * cluster, cluster);
    const std::uint64_t entry = reserved * sector + next * 4;
    copy.fill(entry, 4);
    const Buffer value = copy.look(entry, 4);
    next = ByteReader(value, "FAT entry").le32(0) & 0x0FFFFFFFU;
  }
}

void fill_exfat(SparseCopy& copy) {
  const Buffer bytes = copy.look(0, 512);
  const ByteReader boot(bytes, "exFAT boot sector");
  if (!boot.has(3, "EXFAT   ")) return;
  const unsigned sector_shift = boot.u8(108);
  const unsigned cluster_shift = boot.u8(109);
  if (sector_shift < 9 || sector_shift > 12 || cluster_shift > 25 - sector_shift) {
    copy.hide(3, 8);
    return;
  }
  const std::uint64_t cluster = 1ULL << (sector_shift + cluster_shift);
  const std::uint64_t fat = std::uint64_t{boot.le32(80)} << sector_shift;
  const std::uint64_t heap = std::uint64_t{boot.le32(88)} << sector_shift;
  std::uint64_t next = boot.le32(96);
  constexpr std::uint64_t kLastCluster = 0xFFFFFFF6;
  for (unsigned count = 0; count < kMostClusters; ++count) {
    if (next < 2 || next > kLastCluster || count * cluster > kMostDirectory) return;
    copy.fill(heap + (next - 2) * cluster, std::min(cluster, kMostDirectory));
    copy.fill(fat + next * 4, 4);
    const Buffer value = copy.look(fat + next * 4, 4);
    next = ByteReader(value, "FAT entry").le32(0);
  }
}

void fill_bitlocker(SparseCopy& copy) {
  const Buffer bytes = copy.look(0, 512);
  const ByteReader boot(bytes, "BitLocker boot sector");
  constexpr std::size_t kWindows7 = 176;  // offset of the first FVE metadata block's offset
  constexpr std::size_t kToGo = 440;      // the same on FAT; the GUID is at 424
  if (boot.has(3, "-FVE-FS-")) copy.fill(boot.le64(kWindows7), 4 * kKiB);
  if (boot.has(3, "MSWIN4.1")) copy.fill(boot.le64(kToGo), 4 * kKiB);
}

}  // namespace peelfs
