#include "check/condition.h"

#include <cstdint>

#include "peelfs/bytes.h"
#include "peelfs/error.h"

namespace peelfs::check {
namespace {

// The superblock of ext2, ext3 and ext4 (Documentation/filesystems/ext4, "Super Block").
Condition of_ext(const BlockDevice& device, std::int64_t now) {
  constexpr std::uint64_t kPlace = 1024;
  constexpr std::size_t kSize = 1024;
  constexpr std::uint16_t kMagic = 0xEF53;
  constexpr std::uint16_t kValid = 1;
  constexpr std::uint16_t kError = 2;
  constexpr std::uint32_t kRecover = 4;
  const Buffer bytes = read_up_to(device, kPlace, kSize);
  const ByteReader super(bytes, "superblock");
  Condition condition;
  if (bytes.size() < kSize || super.le16(0x38) != kMagic) return condition;
  condition.tells = true;
  const std::uint16_t mounts = super.le16(0x34);
  const auto most_mounts = static_cast<std::int16_t>(super.le16(0x36));
  const std::uint16_t state = super.le16(0x3A);
  const std::uint32_t interval = super.le32(0x44);
  condition.needs_replay = (super.le32(0x60) & kRecover) != 0;
  // s_lastcheck has 32 bits, and 8 more behind the others since Linux 4.18.
  const std::int64_t last_check =
      super.le32(0x40) | (static_cast<std::int64_t>(super.u8(0x277)) << 32U);
  if ((state & kError) != 0) {
    condition.due = "the kernel has recorded errors in it";
  } else if ((state & kValid) == 0) {
    condition.due = "it was not unmounted";
  } else if (most_mounts > 0 && mounts >= most_mounts) {
    condition.due = "it was mounted " + std::to_string(mounts) +
                    " times since its last check, which is due after " +
                    std::to_string(most_mounts);
  } else if (interval > 0 && now >= last_check + interval) {
    constexpr std::uint32_t kDay = 86'400;
    condition.due = "its last check was " + std::to_string((now - last_check) / kDay) +
                    " days ago, and one is due after " + std::to_string(interval / kDay);
  }
  return condition;
}

// The boot sector of FAT16 and FAT32: a bit that Linux and Windows set as long as it is mounted.
Condition of_fat(const BlockDevice& device) {
  constexpr std::size_t kSize = 512;
  const Buffer bytes = read_up_to(device, 0, kSize);
  const ByteReader boot(bytes, "boot sector");
  Condition condition;
  if (bytes.size() < kSize || boot.le16(510) != 0xAA55) return condition;
  condition.tells = true;
  const bool is_32 = boot.le16(22) == 0;  // sectors of a FAT of FAT12 and FAT16
  const std::uint8_t flags = boot.u8(is_32 ? 0x41 : 0x25);
  if ((flags & 1U) != 0) condition.due = "it was not unmounted";
  return condition;
}

// The main boot sector (exFAT specification, section 3.1): VolumeFlags.
Condition of_exfat(const BlockDevice& device) {
  constexpr std::size_t kSize = 512;
  constexpr std::uint16_t kDirty = 2;
  constexpr std::uint16_t kMediaFailure = 4;
  const Buffer bytes = read_up_to(device, 0, kSize);
  const ByteReader boot(bytes, "boot sector");
  Condition condition;
  if (bytes.size() < kSize || !boot.has(3, "EXFAT   ")) return condition;
  condition.tells = true;
  const std::uint16_t flags = boot.le16(106);
  if ((flags & kMediaFailure) != 0) {
    condition.due = "failures of its medium are recorded in it";
  } else if ((flags & kDirty) != 0) {
    condition.due = "it was not unmounted";
  }
  return condition;
}

/// Of ext with blocks of this size: the backup that lies in the second block group.
bool has_ext_backup(const BlockDevice& device, std::uint32_t log_size) {
  constexpr std::size_t kSize = 1024;
  constexpr std::uint16_t kMagic = 0xEF53;
  const std::uint64_t block = std::uint64_t{kSize} << log_size;
  const std::uint64_t first = log_size == 0 ? 1 : 0;
  const std::uint64_t place = (block * 8 + first) * block;
  if (place + kSize > device.size()) return false;
  const Buffer bytes = read_up_to(device, place, kSize);
  const ByteReader super(bytes, "superblock");
  // s_magic, s_log_block_size, s_block_group_nr
  return bytes.size() == kSize && super.le16(0x38) == kMagic && super.le32(0x18) == log_size &&
         super.le16(0x5A) == 1;
}

}  // namespace

std::string lost_filesystem(const BlockDevice& device) {
  try {
    constexpr std::uint32_t kLargest = 2;  // 4 KiB
    for (std::uint32_t log_size = 0; log_size <= kLargest; ++log_size) {
      if (!has_ext_backup(device, log_size)) continue;
      const std::uint64_t block = std::uint64_t{1024} << log_size;
      return "its superblock is lost; a backup of that of an ext2, ext3 or ext4 is there (e2fsck "
             "-b " +
             std::to_string(block * 8 + (log_size == 0 ? 1 : 0)) + " -B " + std::to_string(block) +
             ")";
    }
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): then nothing is known of it
  }
  return "";
}

Condition condition_of(const std::string& fstype, const BlockDevice& device,
                       std::chrono::system_clock::time_point now) {
  try {
    if (fstype == "ext2" || fstype == "ext3" || fstype == "ext4") {
      return of_ext(device, std::chrono::system_clock::to_time_t(now));
    }
    if (fstype == "vfat") return of_fat(device);
    if (fstype == "exfat") return of_exfat(device);
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): its checker says what is wrong with it
  }
  return {};
}

}  // namespace peelfs::check
