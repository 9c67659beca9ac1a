#include "raid/dm_metadata.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "peelfs/error.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"
#include "raid/dm_disk.h"

namespace peelfs::raid {

namespace {

constexpr std::uint64_t kEverything = std::numeric_limits<std::uint64_t>::max();

bool is_failed(const DmSuperblock& freshest, std::uint32_t position) {
  const std::size_t word = position / 64;
  return word < freshest.failed_devices.size() &&
         ((freshest.failed_devices[word] >> (position % 64)) & 1U) != 0;
}

/// If no leg has a superblock the array is a new one.
RaidSync judge_new_leg(const DmSuperblock& leg) {
  if (leg.state == DmSuperblock::State::unreadable) {
    return {0, "its superblock cannot be read, so it is not known whether it is in sync"};
  }
  return {kEverything, ""};
}

RaidSync judge_leg(const DmSuperblock& leg, const DmSuperblock& freshest) {
  switch (leg.state) {
    case DmSuperblock::State::none:
    case DmSuperblock::State::unreadable:
      return {0, "its superblock cannot be read, so it is not known whether it is in sync"};
    case DmSuperblock::State::blank:
      return {0, "it has no superblock: it was added and not yet filled"};
    case DmSuperblock::State::valid:
      break;
  }
  if (is_failed(freshest, leg.array_position)) return {0, "the array has it as failed"};
  // A power cut while superblocks are written leaves a difference of one.
  if (freshest.events - leg.events > 1) {
    return {0, "its event count is old: found " + figure(leg.events) + ", the newest is " +
                   figure(freshest.events)};
  }
  if (leg.disk_recovery_offset != kEverything) {
    return {leg.disk_recovery_offset,
            "it is filled only to sector " + figure(leg.disk_recovery_offset, 512)};
  }
  return {kEverything, ""};
}

}  // namespace

Ranges read_mirror_log(const BlockDevice& log, std::uint64_t region_size, std::uint64_t length) {
  constexpr std::uint64_t kMostRegions = 1U << 26U;
  if (region_size == 0 || length / region_size > kMostRegions) {
    throw Error(Fault::damaged, "region size of the mirror log is not valid")
        .found(figure(region_size) + " bytes")
        .expected("at least " + std::to_string(length / kMostRegions + 1));
  }
  const std::uint64_t regions = div_round_up(length, region_size);
  const Buffer buffer = read_up_to(log, 0, MirrorLogDisk::kBits + div_round_up(regions, 8));
  const ByteReader reader(buffer, "mirror log");
  if (reader.le32(MirrorLogDisk::kMagic) != MirrorLogDisk::kMagicNumber) {
    throw Error(Fault::damaged, "mirror log has no header")
        .found("magic " + hex(reader.le32(MirrorLogDisk::kMagic)))
        .expected(hex(MirrorLogDisk::kMagicNumber));
  }
  if (const std::uint32_t version = reader.le32(MirrorLogDisk::kVersion);
      version != 1 && version != 2) {
    throw Error(Fault::unsupported, "mirror log has an unknown version")
        .found(std::to_string(version))
        .expected("1 or 2");
  }
  // Regions that the mirror has grown by since the log was written are not in sync.
  const std::uint64_t known = std::min(reader.le64(MirrorLogDisk::kNrRegions), regions);
  Ranges clean;
  for (std::uint64_t region = 0; region < known; ++region) {
    const std::uint8_t byte = reader.u8(MirrorLogDisk::kBits + region / 8);
    if (((byte >> (region % 8)) & 1U) == 0) continue;
    const std::uint64_t begin = region * region_size;  // below length
    append(clean, {begin, begin + std::min(region_size, length - begin)});
  }
  return clean;
}

DmSuperblock read_raid_superblock(const BlockDevice& metadata) {
  using Disk = DmSuperblockDisk;
  const Buffer buffer = read_up_to(metadata, 0, Disk::kSize);
  const ByteReader reader(buffer, "dm_raid_superblock");
  DmSuperblock superblock;
  if (reader.le32(Disk::kMagic) != Disk::kMagicNumber) {
    superblock.state = DmSuperblock::State::blank;
    return superblock;
  }
  superblock.state = DmSuperblock::State::valid;
  superblock.array_position = reader.le32(Disk::kArrayPosition);
  superblock.events = reader.le64(Disk::kEvents);
  superblock.failed_devices.push_back(reader.le64(Disk::kFailedDevices));
  superblock.disk_recovery_offset = reader.le64(Disk::kDiskRecoveryOffset);
  superblock.array_resync_offset = reader.le64(Disk::kArrayResyncOffset);
  const std::uint32_t features = reader.le32(Disk::kCompatFeatures);
  if ((features & ~Disk::kSupportsV190) != 0) {
    superblock.unsupported = "unknown features " + hex(features);
  }
  if (const std::uint32_t level = reader.le32(Disk::kLevel); level != 1) {
    superblock.unsupported =
        "RAID level " + std::to_string(level) + " in the superblock of a raid1";
  }
  if ((features & Disk::kSupportsV190) == 0) return superblock;
  for (std::size_t i = 0; i < Disk::kExtendedWords; ++i) {
    superblock.failed_devices.push_back(reader.le64(Disk::kExtendedFailedDevices + 8 * i));
  }
  if (const std::uint32_t incompatible = reader.le32(Disk::kIncompatFeatures); incompatible != 0) {
    superblock.unsupported = "incompatible features " + hex(incompatible);
  }
  if ((reader.le32(Disk::kFlags) & Disk::kReshapeActive) != 0) {
    superblock.unsupported = "a reshape in progress";
  }
  if (reader.le64(Disk::kDataOffset) != 0 || reader.le64(Disk::kNewDataOffset) != 0) {
    superblock.unsupported = "a data offset";
  }
  return superblock;
}

// As dm-raid does (super_load, super_validate): the superblock with the highest event count is the
// one that counts. The devices that it has as failed, and those without a superblock, are filled
// again from the others before they are read; a device that is being filled is read as far as it
// has come. array_resync_offset says how far the first synchronisation of the whole array has come;
// behind it the kernel reads the first leg that is in sync, and that leg is taken here everywhere.
// Beyond that, a leg whose event count is older by more than one is left out: the kernel never
// writes such sets, so a part of it comes from a copy that was made at another time.
std::vector<RaidSync> judge_raid_legs(const std::vector<DmSuperblock>& superblocks) {
  const DmSuperblock* freshest = nullptr;
  for (const DmSuperblock& one : superblocks) {
    if (one.state != DmSuperblock::State::valid) continue;
    if (freshest == nullptr || one.events > freshest->events) freshest = &one;
  }
  std::vector<RaidSync> verdicts;
  for (const DmSuperblock& one : superblocks) {
    verdicts.push_back(freshest != nullptr ? judge_leg(one, *freshest) : judge_new_leg(one));
    verdicts.back().freshest = &one == freshest;
  }
  return verdicts;
}

}  // namespace peelfs::raid
