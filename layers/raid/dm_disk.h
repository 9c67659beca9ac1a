// What the kernel writes to the log of a mirror and to the metadata volumes of a RAID array. After
// drivers/md/dm-log.c (struct log_header_disk) and drivers/md/dm-raid.c (struct
// dm_raid_superblock), whose names are kept. All numbers are little-endian.
#pragma once

#include <cstddef>
#include <cstdint>

namespace peelfs::raid {

struct MirrorLogDisk {
  static constexpr std::size_t kMagic = 0;      ///< 32 bit: 0x4D695272
  static constexpr std::size_t kVersion = 4;    ///< 32 bit: 2; 1 is the same on little-endian hosts
  static constexpr std::size_t kNrRegions = 8;  ///< 64 bit
  static constexpr std::size_t kBits = 1024;    ///< clean bits: LOG_OFFSET is 2 sectors
  static constexpr std::uint32_t kMagicNumber = 0x4D695272;
};

struct DmSuperblockDisk {
  static constexpr std::size_t kSize = 512;
  static constexpr std::size_t kMagic = 0;           ///< 32 bit: 0x64526D44, "DmRd"
  static constexpr std::size_t kCompatFeatures = 4;  ///< 32 bit; bit 0: v1.9.0, all below is there
  static constexpr std::size_t kNumDevices = 8;      ///< 32 bit
  static constexpr std::size_t kArrayPosition = 12;  ///< 32 bit
  static constexpr std::size_t kEvents = 16;         ///< 64 bit
  static constexpr std::size_t kFailedDevices = 24;  ///< 64 bit
  static constexpr std::size_t kDiskRecoveryOffset = 32;      ///< 64 bit, sectors
  static constexpr std::size_t kArrayResyncOffset = 40;       ///< 64 bit, sectors
  static constexpr std::size_t kLevel = 48;                   ///< 32 bit
  static constexpr std::size_t kFlags = 60;                   ///< 32 bit; v1.9.0 from here on
  static constexpr std::size_t kDataOffset = 96;              ///< 64 bit, sectors
  static constexpr std::size_t kNewDataOffset = 104;          ///< 64 bit, sectors
  static constexpr std::size_t kExtendedFailedDevices = 120;  ///< 3 times 64 bit
  static constexpr std::size_t kIncompatFeatures = 144;       ///< 32 bit

  static constexpr std::uint32_t kMagicNumber = 0x64526D44;
  static constexpr std::uint32_t kSupportsV190 = 1;   ///< FEATURE_FLAG_SUPPORTS_V190
  static constexpr std::uint32_t kReshapeActive = 1;  ///< SB_FLAG_RESHAPE_ACTIVE
  static constexpr std::size_t kExtendedWords = 3;    ///< DISKS_ARRAY_ELEMS - 1
};

/// bitmap_super_t of drivers/md/md-bitmap.h, in the metadata volume of each leg; what of it counts.
struct RaidBitmapDisk {
  static constexpr std::size_t kStart = 4096;    ///< bytes: bitmap_info.offset of dm-raid.c
  static constexpr std::size_t kMagic = 0;       ///< 32 bit: "bitm"
  static constexpr std::size_t kSyncSize = 40;   ///< 64 bit, sectors
  static constexpr std::size_t kChunkSize = 52;  ///< 32 bit, bytes
  static constexpr std::size_t kBits = 256;      ///< from kStart on, one a chunk
  static constexpr std::uint32_t kMagicNumber = 0x6d746962;
  static constexpr std::uint64_t kMostChunks = 1U << 26U;
};

}  // namespace peelfs::raid
