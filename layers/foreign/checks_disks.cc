#include <algorithm>
#include <optional>

#include "foreign/checks.h"
#include "foreign/sector.h"

namespace peelfs::foreign {

namespace {

/// Where a BitLocker boot sector has what it says of the volume: libbde's "BitLocker Drive
/// Encryption (BDE) format", sections 2.2 to 2.4.
struct BitLocker {
  Buffer boot;
  std::size_t guid = 0;
  std::size_t offsets = 0;
};

// 92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8
constexpr std::string_view kEncryptOnWrite =
    "\x3b\x4d\xa8\x92\x80\xdd\x0e\x4d\x9e\x4e\xb1\xe3\x28\x4e\xae\xd8";

std::optional<BitLocker> bitlocker(const BlockDevice& device) {
  BitLocker volume{sector_at(device, 0)};
  const ByteReader boot(volume.boot, "BitLocker boot sector");
  if (boot.has(0, "\xEB\x52\x90")) return std::nullopt;  // Vista, which has neither
  const bool to_go = boot.has(3, "MSWIN4.1");
  volume.guid = to_go ? 424 : 160;
  volume.offsets = to_go ? 440 : 176;
  return volume;
}

/// The first block of FVE metadata, or as much of it as its entries need.
Buffer bitlocker_metadata(const BlockDevice& device, const BitLocker& volume) {
  constexpr std::size_t kMost = 16384;
  const std::uint64_t offset =
      ByteReader(volume.boot, "BitLocker boot sector").le64(volume.offsets);
  return look(device, offset, kMost);
}

}  // namespace

bool is_bitlocker_of_vista(const BlockDevice& device) {
  return !bitlocker(device);
}

bool is_bitlocker_in_conversion(const BlockDevice& device) {
  const auto volume = bitlocker(device);
  if (!volume) return false;
  if (ByteReader(volume->boot, "BitLocker boot sector").has(volume->guid, kEncryptOnWrite)) {
    return true;
  }
  const Buffer bytes = bitlocker_metadata(device, *volume);
  const ByteReader metadata(bytes, "FVE metadata");
  constexpr unsigned kEncrypted = 4;
  return metadata.has(0, "-FVE-FS-") &&
         (metadata.le16(12) != kEncrypted || metadata.le16(14) != kEncrypted);
}

bool is_bitlocker_with_clear_key(const BlockDevice& device) {
  const auto volume = bitlocker(device);
  if (!volume) return false;
  const Buffer bytes = bitlocker_metadata(device, *volume);
  const ByteReader metadata(bytes, "FVE metadata");
  constexpr std::size_t kHeader = 64;
  constexpr std::size_t kFirstEntry = kHeader + 48;
  constexpr unsigned kVolumeMasterKey = 2;
  constexpr std::size_t kProtection = 8 + 26;  // in the entry of a volume master key
  const std::size_t end = kHeader + std::min<std::size_t>(metadata.le32(kHeader), 12 * 1024);
  for (std::size_t at = kFirstEntry; at + kProtection + 2 <= end;) {
    const std::size_t size = metadata.le16(at);
    if (size < 8) return false;
    constexpr unsigned kClearKey = 0;
    if (metadata.le16(at + 2) == kVolumeMasterKey && metadata.le16(at + kProtection) == kClearKey) {
      return true;
    }
    at += size;
  }
  return false;
}

bool is_bitlocker_boot_sector(const BlockDevice& device) {
  // 4967d63b-2e29-4ad8-8399-f6a339e3d001, and the one of encrypt on write.
  constexpr std::string_view kNormal =
      "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01";
  const Buffer bytes = sector_at(device, 0);
  const ByteReader boot(bytes, "BitLocker boot sector");
  if (boot.has(3, "-FVE-FS-")) return true;
  constexpr std::size_t kToGo = 424;
  return boot.has(3, "MSWIN4.1") && (boot.has(kToGo, kNormal) || boot.has(kToGo, kEncryptOnWrite));
}

// The volume header of libfvde's "FileVault Drive Encryption (FVDE) format", section 3.1.
bool is_core_storage(const BlockDevice& device) {
  const Buffer bytes = sector_at(device, 0);
  const ByteReader header(bytes, "CoreStorage header");
  constexpr unsigned kVersion = 1;
  constexpr unsigned kVolumeHeader = 0x10;
  constexpr unsigned kCrc32c = 1;
  return header.le16(8) == kVersion && header.le16(10) == kVolumeHeader &&
         header.le32(90) == kCrc32c;
}

// A "RigidDiskBlock" in one of the first 16 sectors, whose longs add up to zero.
bool is_amiga(const BlockDevice& device) {
  constexpr std::size_t kPlaces = 16;
  const Buffer bytes = look(device, 0, kPlaces * kSector);
  for (std::size_t sector = 0; sector < kPlaces; ++sector) {
    const ByteReader block(Bytes(bytes).subspan(sector * kSector, kSector), "rigid disk block");
    if (!block.has(0, "RDSK")) continue;
    const std::size_t longs = block.be32(4) & 0x7FU;  // rdb_SummedLongs
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < longs; ++i) sum += block.be32(4 * i);
    if (longs > 2 && sum == 0) return true;
  }
  return false;
}

bool has_bsd_label(const BlockDevice& device) {
  const Buffer bytes = sector_at(device, kSector);
  const ByteReader label(bytes, "BSD disklabel");
  constexpr std::uint32_t kMagic = 0x82564557;  // d_magic and d_magic2
  return label.le32(0) == kMagic && label.le32(132) == kMagic;
}

bool is_label_of_the_whole(const BlockDevice& device) {
  const Buffer bytes = sector_at(device, 0);
  const ByteReader boot(bytes, "boot block");
  if (boot.le16(510) != 0xAA55) return true;
  for (std::size_t at = 446; at < 510; at += 16) {
    if (boot.u8(at + 4) != 0 && boot.le32(at + 12) != 0 && boot.le32(at + 8) != 0) return false;
  }
  return true;
}

// Its entries count from the start of the whole disk, so that here they would lead astray.
bool is_minix_subpartition(const BlockDevice& device) {
  const Buffer bytes = sector_at(device, 0);
  const ByteReader boot(bytes, "boot record");
  if (boot.le16(510) != 0xAA55) return false;
  constexpr unsigned kMinix = 0x81;
  bool any = false;
  for (std::size_t at = 446; at < 510; at += 16) {
    if (boot.u8(at + 4) == 0) continue;
    if (boot.u8(at + 4) != kMinix) return false;
    any = true;
  }
  return any;
}

}  // namespace peelfs::foreign
