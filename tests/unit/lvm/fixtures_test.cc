// Volume groups that a real kernel wrote, against the digests and device-mapper tables that it
// gave.
#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "lvm_open.h"
#include "peelfs/devices.h"
#include "support/fixtures.h"
#include "support/support.h"

namespace peelfs::test {

namespace {

using Json = nlohmann::json;

const Json& fixture(const std::string& name) {
  return fixture_manifest().at(name);
}

/// The images of a fixture, as whole disks.
std::vector<DevicePtr> disks(const std::string& name) {
  std::vector<DevicePtr> devices;
  for (const Json& image : fixture(name).at("images")) {
    devices.push_back(file_device(fixture_image(image.at("name"))));
  }
  return devices;
}

/// The device-mapper name behind a manifest's "/dev/vg/lv".
std::string mapper_name(const Json& oracle) {
  std::istringstream path(oracle.at("kernel_device").get<std::string>());
  std::string part, name;
  std::vector<std::string> parts;
  while (std::getline(path, part, '/')) parts.push_back(part);
  for (std::size_t i = 2; i < parts.size(); ++i) {
    if (i > 2) name += '-';
    for (const char c : parts[i]) name += c == '-' ? std::string("--") : std::string(1, c);
  }
  return name;
}

/// Every device of the oracle that is a logical volume: size always, bytes unless in `unsupported`.
void check(const std::string& name, const std::map<std::string, std::string>& unsupported = {}) {
  const OpenGroup group = open_lvm(disks(name));
  std::size_t compared = 0;
  for (const auto& [key, oracle] : fixture(name).at("oracle").items()) {
    if (!oracle.contains("kernel_device") ||
        oracle.at("kernel_device").get<std::string>().find("/dev/vg") != 0) {
      continue;
    }
    const Inner& inner = group.at(mapper_name(oracle));
    EXPECT_EQ(inner.kind, "lvm");
    EXPECT_EQ(inner.device->size(), oracle.at("size").get<std::uint64_t>()) << inner.name;
    const auto type = unsupported.find(inner.name);
    if (type == unsupported.end()) {
      EXPECT_EQ(sha256(*inner.device), oracle.at("sha256").get<std::string>()) << inner.name;
      EXPECT_EQ(inner.device->sector_size(), oracle.at("logical_sector").get<unsigned>());
    } else {
      ASSERT_TRUE(inner.trouble) << inner.name;
      EXPECT_EQ(inner.trouble->state, Trouble::unsupported) << inner.name;
      EXPECT_NE(inner.trouble->reason.find(type->second), std::string::npos)
          << inner.trouble->reason;
      EXPECT_THROW(read_bytes(*inner.device, 0, 512), Error);
      EXPECT_THROW(read_bytes(*inner.device, inner.device->size() - 512, 512), Error);
    }
    ++compared;
  }
  EXPECT_GT(compared, 0U);
}

}  // namespace

TEST(LvmFixtures, Span) {
  check("lvmspan");
  const OpenGroup group = open_lvm(disks("lvmspan"));
  EXPECT_FALSE(group.opened.trouble) << group.reason();
  ASSERT_EQ(group.opened.devices.size(), 3U);
  EXPECT_EQ(group.at("vgspan-one").members, (std::vector<std::size_t>{0}));
  EXPECT_EQ(group.at("vgspan-three").members, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(group.at("vgspan-one").path, (std::vector<std::string>{"vgspan", "one"}));
  EXPECT_EQ(group.at("vgspan-one").tail, "one");
  EXPECT_TRUE(group.at("vgspan-one").peel);
  check_contract(*group.at("vgspan-three").device);
}

TEST(LvmFixtures, SegmentsInAnyOrder) {
  check("lvmsegs");
  const OpenGroup group = open_lvm(disks("lvmsegs"));
  const Inner& odd = group.at("vgsegs-z--with.dots_and----dash+plus");
  EXPECT_EQ(odd.tail, "z-with.dots_and--dash+plus");
  EXPECT_EQ(odd.path, (std::vector<std::string>{"vgsegs", "z-with.dots_and--dash+plus"}));
  check_contract(*group.at("vgsegs-x").device);
}

TEST(LvmFixtures, Striped) {
  check("lvmstripe");
  check_contract(*open_lvm(disks("lvmstripe")).at("vgstr-s2").device);
}

TEST(LvmFixtures, MirrorsAndRaid) {
  check("lvmraid", {{"vgraid-r10", "raid10"},
                    {"vgraid-r5", "raid5"},
                    {"vgraid-r6", "raid6"},
                    {"vgraid-r4", "raid4"},
                    {"vgraid-r0", "raid0"},
                    {"vgraid-r0m", "raid0_meta"},
                    {"vgraid-r5ra", "raid5_ra"},
                    {"vgraid-r6nc", "raid6_nc"}});
  const OpenGroup group = open_lvm(disks("lvmraid"));
  for (const char* name : {"vgraid-r1", "vgraid-r1x3", "vgraid-mircore", "vgraid-mirdisk"}) {
    EXPECT_FALSE(group.at(name).trouble) << group.at(name).trouble->reason;
  }
  const Inner& leg = group.at("vgraid-r1_rimage_1");
  EXPECT_FALSE(leg.peel);
  EXPECT_EQ(sha256(*leg.device), sha256(*group.at("vgraid-r1").device));
  EXPECT_EQ(leg.members, (std::vector<std::size_t>{1}));
  EXPECT_EQ(group.at("vgraid-r1").members, (std::vector<std::size_t>{0, 1}));
}

TEST(LvmFixtures, RaidAndMirrorsWithoutTheFirstDisk) {
  std::vector<DevicePtr> some = disks("lvmraid");
  some.erase(some.begin());
  const OpenGroup group = open_lvm(some);
  const Json& oracle = fixture("lvmraid").at("oracle");
  // Their superblocks and the log on disk say that the other legs are in sync.
  for (const char* name : {"vgraid-r1", "vgraid-r1x3", "vgraid-mirdisk"}) {
    const Inner& inner = group.at(name);
    EXPECT_EQ(sha256(*inner.device), oracle.at(name).at("sha256").get<std::string>()) << name;
    ASSERT_TRUE(inner.trouble);
    EXPECT_EQ(inner.trouble->state, Trouble::degraded);
    EXPECT_NE(inner.trouble->reason.find("last seen as /dev/sd"), std::string::npos)
        << inner.trouble->reason;
  }
  // Nothing says so of a log in memory; the leg itself can be had.
  const Inner& core = group.at("vgraid-mircore");
  ASSERT_TRUE(core.trouble);
  EXPECT_EQ(core.trouble->state, Trouble::missing);
  EXPECT_NE(core.trouble->reason.find("in memory"), std::string::npos) << core.trouble->reason;
  EXPECT_THROW(read_bytes(*core.device, 0, 512), Error);
  EXPECT_EQ(sha256(*group.at("vgraid-mircore_mimage_1").device),
            oracle.at("vgraid-mircore").at("sha256").get<std::string>());
}

TEST(LvmFixtures, ThinPool) {
  check("lvmthin", {{"vgthin-t1", "thin"},
                    {"vgthin-t2", "thin"},
                    {"vgthin-t1snap", "thin"},
                    {"vgthin-t1snapsnap", "thin"}});
  const OpenGroup group = open_lvm(disks("lvmthin"));
  EXPECT_FALSE(group.at("vgthin-pool_tmeta").peel);
  EXPECT_FALSE(group.at("vgthin-pool_tdata").trouble);
  EXPECT_EQ(group.at("vgthin-pool").trouble->state, Trouble::unsupported);
}

TEST(LvmFixtures, Snapshots) {
  check("lvmsnap", {{"vgsnap-snap1", "snapshot"}, {"vgsnap-snap2", "snapshot"}});
  const OpenGroup group = open_lvm(disks("lvmsnap"));
  EXPECT_EQ(group.find("vgsnap-snapshot0"), nullptr);
  EXPECT_TRUE(group.at("vgsnap-snap1").peel);
  // dm-snap-persistent.c: the store begins with "SnAp".
  const Inner& store = group.at("vgsnap-snap1-cow");
  EXPECT_FALSE(store.peel);
  EXPECT_EQ(as_text(read_bytes(*store.device, 0, 4)), "SnAp");
}

TEST(LvmFixtures, Cache) {
  check("lvmcache", {{"vgcache-writeback", "cache"}, {"vgcache-writethrough", "cache"}});
  const OpenGroup group = open_lvm(disks("lvmcache"));
  EXPECT_FALSE(group.at("vgcache-writeback_corig").peel);
}

TEST(LvmFixtures, OddAlignmentsAndTwoCopies) {
  check("lvmalign");
  EXPECT_FALSE(open_lvm(disks("lvmalign")).opened.trouble);
}

TEST(LvmFixtures, WholeDisksWithFilesystems) {
  check("xfslv");
  check("fslvs");
  check("dirtyext4");
}

TEST(LvmFixtures, MissingPhysicalVolume) {
  check("lvmpartial");
  const OpenGroup group = open_lvm(disks("lvmpartial"));
  EXPECT_EQ(group.state(), "degraded");
  EXPECT_NE(group.reason().find("1 of 2 physical volumes"), std::string::npos) << group.reason();
  EXPECT_FALSE(group.at("vgpart-whole").trouble);

  const Inner& split = group.at("vgpart-split");
  ASSERT_TRUE(split.trouble);
  EXPECT_EQ(split.trouble->state, Trouble::degraded);
  const Buffer first = read_bytes(*split.device, 0, 10485760);
  EXPECT_EQ(sha256(first), "92beb09b4b34c9630e8d5d53cc801e59d06930020d20c3ea65842410cce33ec0");
  try {
    read_bytes(*split.device, 10485760, 1);
    FAIL() << "the missing half could be read";
  } catch (const Error& error) {
    EXPECT_EQ(error.error_number(), EIO);
    EXPECT_EQ(error.fault(), Fault::missing);
    EXPECT_NE(std::string(error.what()).find("(last seen as /dev/"), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(group.at("vgpart-r1").trouble->state, Trouble::degraded);
}

TEST(LvmFixtures, ClaimNamesWhatBlkidNames) {
  const DevicePtr disk = file_device(fixture_image("variant1"));
  const std::optional<Claim> claim = probe_lvm(*disk);
  ASSERT_TRUE(claim);
  EXPECT_EQ(claim->format, "LVM2_member");
  EXPECT_EQ(claim->uuid, fixture("variant1").at("oracle").at("disk").at("uuid").get<std::string>());
  EXPECT_EQ(claim->membership->group_name, "vg lvg2");
  EXPECT_EQ(probe_lvm(*disk, "linux_raid_member"), std::nullopt);
}

// Partitions, and a table that counts in 4096-byte sectors: the kernel's own offsets are used.
TEST(LvmFixtures, OnPartitions) {
  const DevicePtr disk = file_device(fixture_image("gpt4k"));
  const DevicePtr part = make_slice(disk, 6912 * 4096ULL, 38776832, "p3");
  const OpenGroup group = open_lvm({part});
  EXPECT_EQ(sha256(*group.at("vg4k-lv4k").device),
            fixture("gpt4k").at("oracle").at("vg4k-lv4k").at("sha256").get<std::string>());
}

// The kernel's tables are linear in places where ours can be compared with them.
TEST(LvmFixtures, ExtentsAreThoseOfTheKernelsTables) {
  std::size_t compared = 0;
  for (const char* name : {"lvmspan", "lvmsegs", "lvmalign", "lvmstripe", "fslvs", "lvmthin"}) {
    const OpenGroup group = open_lvm(disks(name));
    for (const auto& [key, oracle] : fixture(name).at("oracle").items()) {
      if (!oracle.contains("dm_table") || !oracle.at("dm_table").is_string()) continue;
      std::istringstream table(oracle.at("dm_table").get<std::string>());
      std::string line;
      while (std::getline(table, line, ';')) {
        std::istringstream words(line);
        std::uint64_t start = 0, length = 0, offset = 0, stripes = 0, chunk = 0;
        std::string type, device;
        words >> start >> length >> type;
        if (type == "linear") words >> device >> offset;
        if (type == "striped") words >> stripes >> chunk >> device >> offset;
        if (device.empty()) continue;
        const Resolved at =
            resolve(*group.at(mapper_name(oracle)).device, start * 512, length * 512);
        EXPECT_EQ(at.extent.offset, offset * 512) << key << ": " << line;
        EXPECT_EQ(at.extent.length, (type == "linear" ? length : chunk) * 512)
            << key << ": " << line;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 20U);
}

}  // namespace peelfs::test
