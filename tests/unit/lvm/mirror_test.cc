// Mirrors: which leg is read. The rules are those of the kernel's dm-raid1.c, dm-log.c and
// dm-raid.c.
#include <gtest/gtest.h>

#include "lvm_open.h"
#include "maker.h"
#include "raid/dm_metadata.h"
#include "raid/legs.h"

namespace peelfs::test {

namespace {

constexpr std::uint64_t kExtent = 65536;
constexpr std::uint64_t kStart = 1U << 20U;
constexpr std::uint64_t kAll = ~0ULL;

testing::AssertionResult holds(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << part << "\" is not in \"" << text << "\"";
}

void put(Buffer& buffer, std::size_t at, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) buffer[at + i] = static_cast<std::byte>(value >> (8 * i));
}

/// struct dm_raid_superblock, from dm-raid.c.
struct Super {
  std::uint64_t events = 10, failed = 0, recovery = kAll, resync = kAll;
  std::uint32_t position = 0, level = 1, flags = 0, features = 1, incompatible = 0;
  std::uint64_t data_offset = 0, failed_high = 0;
  Buffer bytes() const {
    Buffer out(512);
    put(out, 0, 0x64526D44, 4);
    put(out, 4, features, 4);
    put(out, 8, 2, 4);
    put(out, 12, position, 4);
    put(out, 16, events, 8);
    put(out, 24, failed, 8);
    put(out, 32, recovery, 8);
    put(out, 40, resync, 8);
    put(out, 48, level, 4);
    put(out, 60, flags, 4);
    put(out, 64, kAll, 8);
    put(out, 96, data_offset, 8);
    put(out, 120, failed_high, 8);
    put(out, 144, incompatible, 4);
    return out;
  }
};

constexpr std::uint64_t kMeta = kStart;            // extent 0 of each disk
constexpr std::uint64_t kData = kStart + kExtent;  // extents 1 to 8

/// A raid1 "r" of 8 extents: its leg n is on disk n.
GroupSpec raid_group(unsigned legs, const std::map<unsigned, std::string>& status = {}) {
  GroupSpec spec;
  spec.members = legs;
  std::string body = "type = \"raid1\"\ndevice_count = " + std::to_string(legs) +
                     "\nregion_size = 4096\n\nraids = [\n";
  for (unsigned i = 0; i < legs; ++i) {
    const std::string n = std::to_string(i), pv = "pv" + n;
    body += "\"r_rmeta_" + n + "\", \"r_rimage_" + n + "\"" + (i + 1 < legs ? ",\n" : "\n");
    spec.volumes += hidden_volume("r_rmeta_" + n, pv, 0, 1);
    const auto own = status.find(i);
    spec.volumes += volume_text("r_rimage_" + n, {segment_text(0, 8, linear_on(pv, 1))},
                                own != status.end() ? own->second : "\"READ\", \"WRITE\"");
  }
  spec.volumes = volume_text("r", {segment_text(0, 8, body + "]")}) + spec.volumes;
  return spec;
}

std::vector<StampedDiskPtr> raid_disks(const GroupSpec& spec, const std::vector<Super>& supers) {
  std::vector<StampedDiskPtr> disks = make_group(spec);
  for (std::size_t i = 0; i < disks.size(); ++i) {
    Super super = supers[i];
    if (super.position == 0) super.position = static_cast<std::uint32_t>(i);
    disks[i]->write(kMeta, super.bytes());
  }
  return disks;
}

unsigned disk_of(const BlockDevice& device, std::uint64_t offset = 0) {
  return static_cast<unsigned>(word_at(device, offset) >> 52U);
}

const Inner& raid(const OpenGroup& group) {
  return group.at("vgs-r");
}

std::string reason_of(const Inner& inner) {
  return inner.trouble ? inner.trouble->reason : "";
}
std::string state_of(const Inner& inner) {
  return inner.trouble ? std::string(state_name(inner.trouble->state)) : "";
}

}  // namespace

TEST(LvmRaid1, TheFirstLegInSync) {
  const OpenGroup group = open_lvm(as_devices(raid_disks(raid_group(3), {{}, {}, {}})));
  EXPECT_FALSE(raid(group).trouble) << reason_of(raid(group));
  EXPECT_EQ(word_at(*raid(group).device, 16), StampedDisk::stamp(0, kData + 16));
  EXPECT_EQ(raid(group).members, (std::vector<std::size_t>{0, 1, 2}));
}

TEST(LvmRaid1, AnotherWhenItIsMissing) {
  std::vector<DevicePtr> devices = as_devices(raid_disks(raid_group(2), {{}, {}}));
  devices.erase(devices.begin());
  const OpenGroup group = open_lvm(devices);
  EXPECT_EQ(word_at(*raid(group).device, 16), StampedDisk::stamp(1, kData + 16));
  EXPECT_EQ(state_of(raid(group)), "degraded");
  EXPECT_TRUE(holds(reason_of(raid(group)), hyphenated(pv_uuid(0))));
}

TEST(LvmRaid1, FailedLegsAreNotRead) {
  // The survivor has the first as failed; the failed one knows nothing of it.
  std::vector<StampedDiskPtr> disks =
      raid_disks(raid_group(2), {{.events = 10}, {.events = 11, .failed = 1}});
  OpenGroup group = open_lvm(as_devices(disks));
  EXPECT_EQ(disk_of(*raid(group).device), 1U);
  EXPECT_EQ(state_of(raid(group)), "degraded");
  EXPECT_TRUE(
      holds(reason_of(raid(group)), "leg r_rimage_0 is not in sync: the array has it as failed"));
  // With the disk of the failed leg alone there is nothing that says that it has failed.
  group = open_lvm({disks[1]});
  EXPECT_EQ(disk_of(*raid(group).device), 1U);
}

TEST(LvmRaid1, FailedPositionsBeyondTheFirstWord) {
  std::vector<raid::DmSuperblock> legs(2);
  for (raid::DmSuperblock& leg : legs) {
    leg.state = raid::DmSuperblock::State::valid;
    leg.disk_recovery_offset = kAll;
    leg.failed_devices = {0, 2, 0, 0};
  }
  legs[0].array_position = 65;
  legs[1].array_position = 3'000'000'000U;
  const std::vector<raid::RaidSync> sync = raid::judge_raid_legs(legs);
  EXPECT_EQ(sync[0].in_sync, 0U);
  EXPECT_EQ(sync[1].in_sync, kAll);
}

TEST(LvmRaid1, ALegThatIsBeingFilledIsReadAsFarAsItHasCome) {
  // Leg 0 is filled up to sector 256 (2 extents); leg 1 is whole.
  const OpenGroup group = open_lvm(as_devices(raid_disks(raid_group(2), {{.recovery = 256}, {}})));
  const BlockDevice& device = *raid(group).device;
  EXPECT_EQ(disk_of(device, 0), 0U);
  EXPECT_EQ(disk_of(device, 2 * kExtent - 8), 0U);
  EXPECT_EQ(word_at(device, 2 * kExtent), StampedDisk::stamp(1, kData + 2 * kExtent));
  EXPECT_TRUE(holds(reason_of(raid(group)), "filled only to sector 256"));
  check_contract(device);
}

TEST(LvmRaid1, WhatOnlyAnUnfilledLegHasCannotBeRead) {
  std::vector<DevicePtr> devices = as_devices(raid_disks(raid_group(2), {{.recovery = 256}, {}}));
  devices.pop_back();
  const OpenGroup group = open_lvm(devices);
  const Inner& inner = raid(group);
  EXPECT_EQ(disk_of(*inner.device, 0), 0U);
  EXPECT_THROW(read_bytes(*inner.device, 2 * kExtent, 1), Error);
  EXPECT_EQ(state_of(inner), "degraded");
  EXPECT_TRUE(
      holds(reason_of(inner), "up to 393216 of 524288 bytes cannot be read, from byte 131072"));
  // The leg itself can be had.
  EXPECT_EQ(disk_of(*group.at("vgs-r_rimage_0").device, 7 * kExtent), 0U);
}

TEST(LvmRaid1, OldEventCountsAreNotRead) {
  OpenGroup group = open_lvm(as_devices(raid_disks(raid_group(2), {{.events = 7}, {.events = 9}})));
  EXPECT_EQ(disk_of(*raid(group).device), 1U);
  EXPECT_TRUE(holds(reason_of(raid(group)), "event count is old: found 7, the newest is 9"));
  // One apart is what a power cut leaves.
  group = open_lvm(as_devices(raid_disks(raid_group(2), {{.events = 8}, {.events = 9}})));
  EXPECT_EQ(disk_of(*raid(group).device), 0U);
  EXPECT_FALSE(raid(group).trouble);
}

TEST(LvmRaid1, LegsWithoutASuperblock) {
  // One leg has a superblock: the other was added and is not filled yet.
  std::vector<StampedDiskPtr> disks = raid_disks(raid_group(2), {{}, {}});
  disks[0]->write(kMeta, Buffer(512));
  OpenGroup group = open_lvm(as_devices(disks));
  EXPECT_EQ(disk_of(*raid(group).device), 1U);
  EXPECT_TRUE(holds(reason_of(raid(group)), "it has no superblock"));
  // Neither has one: the array was never in use, and its first leg is the source.
  disks[1]->write(kMeta, Buffer(512));
  group = open_lvm(as_devices(disks));
  EXPECT_EQ(disk_of(*raid(group).device), 0U);
  EXPECT_FALSE(raid(group).trouble);
}

TEST(LvmRaid1, ASuperblockThatCannotBeReadProvesNothing) {
  // The metadata of leg 0 lies on a third disk, which is not here.
  GroupSpec spec = raid_group(2);
  spec.members = 3;
  const std::string own = hidden_volume("r_rmeta_0", "pv0", 0, 1);
  spec.volumes.replace(spec.volumes.find(own), own.size(), hidden_volume("r_rmeta_0", "pv2", 0, 1));
  std::vector<StampedDiskPtr> disks = raid_disks(spec, {{}, {}, {}});
  OpenGroup group = open_lvm({disks[0], disks[1]});
  EXPECT_EQ(disk_of(*raid(group).device), 1U);
  EXPECT_TRUE(holds(reason_of(raid(group)), "its superblock cannot be read"));
  group = open_lvm({disks[0]});
  EXPECT_THROW(read_bytes(*raid(group).device, 0, 1), Error);
  EXPECT_EQ(state_of(raid(group)), "missing");
}

TEST(LvmRaid1, LegsThatLvmHasSetAside) {
  OpenGroup group = open_lvm(
      as_devices(raid_disks(raid_group(2, {{0, "\"READ\", \"WRITE\", \"REBUILD\""}}), {{}, {}})));
  EXPECT_EQ(disk_of(*raid(group).device), 1U);
  EXPECT_TRUE(holds(reason_of(raid(group)), "marked for a rebuild"));
  // lvconvert --splitmirrors --trackchanges
  group = open_lvm(as_devices(raid_disks(raid_group(2, {{0, "\"READ\", \"VISIBLE\""}}), {{}, {}})));
  EXPECT_EQ(disk_of(*raid(group).device), 1U);
  EXPECT_TRUE(holds(reason_of(raid(group)), "it is split off"));
  EXPECT_TRUE(group.at("vgs-r_rimage_0").peel);
  // Slow legs come last, and still count.
  group = open_lvm(as_devices(
      raid_disks(raid_group(2, {{0, "\"READ\", \"WRITE\", \"WRITEMOSTLY\""}}), {{}, {}})));
  EXPECT_EQ(disk_of(*raid(group).device), 1U);
  EXPECT_FALSE(raid(group).trouble);
}

TEST(LvmRaid1, StatesBeyondAPlainMirrorAreRefused) {
  const std::vector<std::pair<Super, std::string>> cases = {
      {{.level = 5}, "RAID level 5"},
      {{.flags = 1}, "a reshape in progress"},
      {{.features = 4}, "unknown features 0x4"},
      {{.incompatible = 2}, "incompatible features 0x2"},
      {{.data_offset = 8}, "a data offset"}};
  for (const auto& [super, text] : cases) {
    const OpenGroup group = open_lvm(as_devices(raid_disks(raid_group(2), {super, {}})));
    EXPECT_EQ(state_of(raid(group)), "unsupported");
    EXPECT_TRUE(holds(reason_of(raid(group)), text));
    EXPECT_THROW(read_bytes(*raid(group).device, 0, 1), Error);
  }
}

TEST(LvmRaid1, WhatALegThatIsOutOfUseSaysDoesNotMatter) {
  const OpenGroup group = open_lvm(as_devices(
      raid_disks(raid_group(2), {{.events = 3, .level = 5}, {.events = 9, .failed = 1}})));
  EXPECT_EQ(state_of(raid(group)), "degraded");
  EXPECT_EQ(disk_of(*raid(group).device), 1U);
}

TEST(LvmRaid1, ListsOfLegsAreChecked) {
  const auto reason = [](const std::string& from, const std::string& to) {
    GroupSpec spec = raid_group(2);
    spec.volumes.replace(spec.volumes.find(from), from.size(), to);
    const OpenGroup group = open_lvm(as_devices(make_group(spec)));
    EXPECT_EQ(state_of(group.at("vgs-r")), "damaged");
    return reason_of(group.at("vgs-r"));
  };
  EXPECT_TRUE(holds(reason("device_count = 2", "device_count = 3"),
                    "found 2 legs, expected device_count = 3"));
  EXPECT_TRUE(holds(reason("device_count = 2", "device_count = 0"), "expected device_count = 0"));
  EXPECT_TRUE(holds(reason("\"r_rimage_0\",", "\"nobody\","), "\"nobody\""));
  EXPECT_TRUE(holds(reason("\"r_rimage_0\",", "5,"), "holds something that is no name"));
  EXPECT_TRUE(
      holds(reason("start_extent = 0\nextent_count = 8", "start_extent = 0\nextent_count = 9"),
            "leaves the logical volume r_rimage_0"));
  std::string many = "device_count = 300\nregion_size = 4096\nraids = [\n\"r_rimage_0\"";
  for (int i = 1; i < 300; ++i) many += ", \"r_rimage_1\"";
  GroupSpec spec = raid_group(2);
  spec.volumes = volume_text("r", {segment_text(0, 8, "type = \"raid1\"\n" + many + "]")}) +
                 hidden_volume("r_rimage_0", "pv0", 1, 8) +
                 hidden_volume("r_rimage_1", "pv1", 1, 8);
  EXPECT_TRUE(holds(reason_of(open_lvm(as_devices(make_group(spec))).at("vgs-r")),
                    "found 300, expected at most 253"));
}

namespace {

/// A mirror "m" of 8 extents with a leg on each of disks 0 and 1; the log is on disk 2.
GroupSpec mirror_group(const std::string& more, const std::string& first = "m_mimage_0") {
  GroupSpec spec;
  spec.members = 3;
  spec.volumes =
      volume_text(
          "m", {segment_text(0, 8,
                             "type = \"mirror\"\nmirror_count = 2\n" + more + "\nmirrors = [\n\"" +
                                 first + "\", 0,\n\"m_mimage_1\", 0\n]")}) +
      hidden_volume("m_mimage_0", "pv0", 1, 8) + hidden_volume("m_mimage_1", "pv1", 1, 8) +
      hidden_volume("m_mlog", "pv2", 0, 1);
  return spec;
}

const std::string kOnDisk = "mirror_log = \"m_mlog\"\nregion_size = 128";

/// The log of a mirror of 8 regions, from dm-log.c.
Buffer mirror_log(unsigned clean, std::uint32_t version = 2, std::uint64_t regions = 8) {
  Buffer log(1024 + 512);
  put(log, 0, 0x4D695272, 4);
  put(log, 4, version, 4);
  put(log, 8, regions, 8);
  put(log, 1024, clean, 1);
  return log;
}

OpenGroup without_first_disk(const Buffer& log) {
  std::vector<StampedDiskPtr> disks = make_group(mirror_group(kOnDisk));
  disks[2]->write(kStart, log);
  return open_lvm({disks[1], disks[2]});
}

}  // namespace

TEST(LvmMirror, TheFirstLegWhateverTheLogSays) {
  for (const std::string& log : {std::string("region_size = 128"), kOnDisk}) {
    const OpenGroup group = open_lvm(as_devices(make_group(mirror_group(log))));
    const Inner& m = group.at("vgs-m");
    EXPECT_FALSE(m.trouble);
    EXPECT_EQ(word_at(*m.device, 8), StampedDisk::stamp(0, kData + 8));
    EXPECT_EQ(m.members, (std::vector<std::size_t>{0, 1}));
  }
}

TEST(LvmMirror, LegsOnPhysicalVolumes) {
  GroupSpec spec;
  spec.volumes = volume_text(
      "m", {segment_text(0, 8,
                         "type = \"mirror\"\nmirror_count = 2\nregion_size = 128\nmirrors = "
                         "[\"pv1\", 4, \"pv0\", 4]")});
  const OpenGroup group = open_lvm(as_devices(make_group(spec)));
  EXPECT_EQ(word_at(*group.at("vgs-m").device, 8), StampedDisk::stamp(1, kStart + 4 * kExtent + 8));
}

TEST(LvmMirror, CleanRegionsOfAnotherLeg) {
  // Regions of an extent each; 2 and 5 were not in sync.
  const OpenGroup group = without_first_disk(mirror_log(0xff & ~0x24U));
  const Inner& m = group.at("vgs-m");
  EXPECT_EQ(state_of(m), "degraded");
  EXPECT_TRUE(holds(reason_of(m), "up to 131072 of 524288 bytes cannot be read, from byte 131072"));
  for (std::uint64_t region = 0; region < 8; ++region) {
    if (region == 2 || region == 5) {
      EXPECT_THROW(read_bytes(*m.device, region * kExtent, 1), Error);
      EXPECT_THROW(read_bytes(*m.device, (region + 1) * kExtent - 1, 1), Error);
    } else {
      EXPECT_EQ(word_at(*m.device, region * kExtent),
                StampedDisk::stamp(1, kData + region * kExtent));
    }
  }
}

TEST(LvmMirror, AllClean) {
  const OpenGroup group = without_first_disk(mirror_log(0xff));
  EXPECT_EQ(state_of(group.at("vgs-m")), "degraded");
  EXPECT_EQ(word_at(*group.at("vgs-m").device, 8 * kExtent - 8),
            StampedDisk::stamp(1, kData + 8 * kExtent - 8));
  // Regions that the log does not know yet are not in sync.
  const OpenGroup grown = without_first_disk(mirror_log(0xff, 1, 3));
  EXPECT_EQ(disk_of(*grown.at("vgs-m").device, 3 * kExtent - 8), 1U);
  EXPECT_THROW(read_bytes(*grown.at("vgs-m").device, 3 * kExtent, 1), Error);
}

TEST(LvmMirror, ALogThatIsDamagedProvesNothing) {
  const auto reason = [](const Buffer& log) {
    const OpenGroup group = without_first_disk(log);
    EXPECT_THROW(read_bytes(*group.at("vgs-m").device, 0, 1), Error);
    EXPECT_EQ(state_of(group.at("vgs-m")), "missing");
    return reason_of(group.at("vgs-m"));
  };
  EXPECT_TRUE(holds(reason(Buffer(1536)),
                    "mirror log has no header (found magic 0x0, expected 0x4d695272)"));
  EXPECT_TRUE(holds(reason(mirror_log(0xff, 3)), "unknown version (found 3, expected 1 or 2)"));
}

TEST(LvmMirror, RegionSizesAreBounded) {
  const MemoryDevice log(mirror_log(0xff));
  EXPECT_THROW(raid::read_mirror_log(log, 0, 1U << 20U), Error);
  EXPECT_THROW(raid::read_mirror_log(log, 512, 1ULL << 50U), Error);
  // More regions than the log has room for.
  const MemoryDevice short_log(mirror_log(0xff, 2, 1U << 20U));
  EXPECT_THROW(raid::read_mirror_log(short_log, 512, 1U << 29U), Error);
  EXPECT_EQ(raid::read_mirror_log(log, 512, 3 * 512 + 1), (raid::Ranges{{0, 3 * 512 + 1}}));
}

TEST(LvmMirror, WithoutALogOnDiskNothingStandsInForTheFirstLeg) {
  const std::vector<StampedDiskPtr> disks = make_group(mirror_group("region_size = 128"));
  const OpenGroup group = open_lvm({disks[1], disks[2]});
  EXPECT_EQ(state_of(group.at("vgs-m")), "missing");
  EXPECT_TRUE(holds(reason_of(group.at("vgs-m")), "in memory only"));
  EXPECT_EQ(disk_of(*group.at("vgs-m_mimage_1").device), 1U);
}

TEST(LvmMirror, AFirstLegThatLvmWentOnWithoutIsNoBetter) {
  GroupSpec spec = mirror_group(kOnDisk);
  spec.member_flags[0] = "MISSING";
  std::vector<StampedDiskPtr> disks = make_group(spec);
  disks[2]->write(kStart, mirror_log(0xff & ~0x08U));
  const OpenGroup group = open_lvm(as_devices(disks));
  const Inner& m = group.at("vgs-m");
  EXPECT_EQ(disk_of(*m.device, 2 * kExtent), 0U);
  EXPECT_THROW(read_bytes(*m.device, 3 * kExtent, 1), Error);
  EXPECT_TRUE(holds(reason_of(m), "is marked as missing"));
  // Without a log on disk there is no telling.
  spec = mirror_group("region_size = 128");
  spec.member_flags[0] = "MISSING";
  EXPECT_EQ(state_of(open_lvm(as_devices(make_group(spec))).at("vgs-m")), "missing");
}

TEST(LvmMirror, OtherLegsMayBeMissing) {
  const std::vector<StampedDiskPtr> disks = make_group(mirror_group("region_size = 128"));
  const OpenGroup group = open_lvm({disks[0], disks[2]});
  EXPECT_EQ(state_of(group.at("vgs-m")), "degraded");
  EXPECT_EQ(disk_of(*group.at("vgs-m").device), 0U);
}

TEST(LvmMirror, Pvmove) {
  // Three segments: moved, being moved, still to move.
  const auto segment = [](int start, const std::string& moved) {
    return segment_text(start, 4,
                        "type = \"mirror\"\nmirror_count = 2\n" + moved + "\nmirrors = [\"pv0\", " +
                            std::to_string(start) + ", \"pv1\", " + std::to_string(100 + start) +
                            "]");
  };
  GroupSpec spec;
  spec.volumes = volume_text("data", {segment_text(0, 12, linear_on("pvmove0", 0))},
                             "\"READ\", \"WRITE\", \"VISIBLE\", \"LOCKED\"") +
                 volume_text("pvmove0",
                             {segment(0, "extents_moved = 4"), segment(4, "extents_moved = 2"),
                              segment(8, "extents_moved = 0")},
                             "\"READ\", \"WRITE\", \"PVMOVE\", \"LOCKED\"");
  const std::vector<StampedDiskPtr> disks = make_group(spec);
  const OpenGroup group = open_lvm(as_devices(disks));
  const Inner& data = group.at("vgs-data");
  EXPECT_FALSE(data.trouble);
  EXPECT_FALSE(group.at("vgs-pvmove0").peel);
  // Done: only the new place is written to. Until then the old one holds everything.
  EXPECT_EQ(word_at(*data.device, 0), StampedDisk::stamp(1, kStart + 100 * kExtent));
  EXPECT_EQ(word_at(*data.device, 4 * kExtent - 8),
            StampedDisk::stamp(1, kStart + 104 * kExtent - 8));
  EXPECT_EQ(word_at(*data.device, 4 * kExtent), StampedDisk::stamp(0, kStart + 4 * kExtent));
  EXPECT_EQ(word_at(*data.device, 12 * kExtent - 8),
            StampedDisk::stamp(0, kStart + 12 * kExtent - 8));
}

TEST(LvmMirror, RangesOfSeveralLegsAreJoined) {
  // Each leg spans two disks, of which another one is missing.
  GroupSpec spec;
  spec.members = 5;
  const auto leg = [](const std::string& name, const std::string& a, const std::string& b) {
    return volume_text(name,
                       {segment_text(0, 4, linear_on(a, 1)), segment_text(4, 4, linear_on(b, 1))},
                       "\"READ\", \"WRITE\"");
  };
  spec.volumes = mirror_group(kOnDisk).volumes;
  spec.volumes = spec.volumes.substr(0, spec.volumes.find("m_mimage_0 {")) +
                 leg("m_mimage_0", "pv0", "pv1") + leg("m_mimage_1", "pv2", "pv3") +
                 hidden_volume("m_mlog", "pv4", 0, 1);
  const std::vector<StampedDiskPtr> disks = make_group(spec);
  disks[4]->write(kStart, mirror_log(0xff));
  const OpenGroup group = open_lvm({disks[0], disks[3], disks[4]});
  const Inner& m = group.at("vgs-m");
  EXPECT_EQ(state_of(m), "degraded");
  EXPECT_EQ(word_at(*m.device, 4 * kExtent - 8), StampedDisk::stamp(0, kData + 4 * kExtent - 8));
  EXPECT_EQ(word_at(*m.device, 4 * kExtent), StampedDisk::stamp(3, kData));
  check_contract(*m.device);
}

}  // namespace peelfs::test
