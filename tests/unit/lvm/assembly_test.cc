// Which devices make up a volume group, and whose metadata counts.
#include <gtest/gtest.h>

#include "lvm_open.h"
#include "maker.h"

namespace peelfs::test {

namespace {

constexpr std::uint64_t kExtent = 65536;
constexpr std::uint64_t kStart = 1U << 20U;

testing::AssertionResult holds(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << part << "\" is not in \"" << text << "\"";
}

/// A disk for physical volume `uuid_of`, whose stamps say `number`.
StampedDiskPtr make_disk(unsigned number, unsigned uuid_of, const std::string& text,
                         std::uint64_t size, bool with_area = true) {
  auto disk = std::make_shared<StampedDisk>(number, size);
  VolumeSpec volume;
  volume.uuid = pv_uuid(uuid_of);
  if (with_area) {
    volume.areas.push_back({});
    volume.areas.back().text = text;
  }
  write_volume(*disk, volume);
  return disk;
}

unsigned disk_of(const BlockDevice& device, std::uint64_t offset = 0) {
  return static_cast<unsigned>(word_at(device, offset) >> 52U);
}

GroupSpec spec_of(unsigned seqno) {
  GroupSpec spec;
  spec.seqno = seqno;
  spec.volumes = linear_volume("a", "pv0", seqno, 1) + linear_volume("b", "pv1", seqno, 1);
  return spec;
}

}  // namespace

TEST(LvmAssembly, TheHighestSeqnoCounts) {
  const std::uint64_t size = spec_of(1).device_bytes();
  for (const bool newer_first : {false, true}) {
    const unsigned first = newer_first ? 12 : 9, second = newer_first ? 9 : 12;
    const OpenGroup group = open_lvm({make_disk(0, 0, spec_of(first).text(), size),
                                      make_disk(1, 1, spec_of(second).text(), size)});
    EXPECT_EQ(word_at(*group.at("vgs-a").device, 0), StampedDisk::stamp(0, kStart + 12 * kExtent));
    EXPECT_EQ(word_at(*group.at("vgs-b").device, 0), StampedDisk::stamp(1, kStart + 12 * kExtent));
    EXPECT_EQ(group.state(), "note");
    EXPECT_TRUE(holds(group.reason(), "holds older metadata: seqno 9, the newest is 12"));
    // It is said of that member alone.
    EXPECT_FALSE(group.opened.trouble);
    ASSERT_EQ(group.opened.reports.size(), 1U);
    EXPECT_EQ(group.opened.reports[0].member, newer_first ? 1U : 0U);
    EXPECT_TRUE(group.opened.reports[0].stale);
    EXPECT_EQ(group.opened.expected, 2U);
    EXPECT_EQ(group.claims[0]->membership->generation, first);
    EXPECT_EQ(group.claims[1]->membership->generation, second);
  }
}

TEST(LvmAssembly, MembersWithoutMetadataAreFoundByTheirUuid) {
  const std::uint64_t size = spec_of(1).device_bytes();
  const OpenGroup group = open_lvm({make_disk(1, 1, "", size, false),
                                    make_disk(7, 7, "", size, false),  // of another group
                                    make_disk(0, 0, spec_of(3).text(), size)});
  EXPECT_FALSE(group.opened.trouble) << group.reason();
  EXPECT_EQ(group.at("vgs-a").members, (std::vector<std::size_t>{2}));
  EXPECT_EQ(group.at("vgs-b").members, (std::vector<std::size_t>{0}));
  EXPECT_EQ(group.opened.adopted, (std::vector<std::size_t>{0}));
  EXPECT_EQ(word_at(*group.at("vgs-b").device, 0), StampedDisk::stamp(1, kStart + 3 * kExtent));
}

TEST(LvmAssembly, AMemberWhoseMetadataIsDamagedIsStillOne) {
  const std::uint64_t size = spec_of(1).device_bytes();
  const StampedDiskPtr damaged = make_disk(1, 1, spec_of(3).text(), size);
  damaged->flip(4096 + 600);
  EXPECT_EQ(probe_lvm(*damaged)->membership->group, "");
  const OpenGroup group = open_lvm({damaged, make_disk(0, 0, spec_of(3).text(), size)});
  EXPECT_EQ(word_at(*group.at("vgs-b").device, 0), StampedDisk::stamp(1, kStart + 3 * kExtent));
  EXPECT_EQ(group.state(), "note");
  EXPECT_TRUE(holds(group.reason(), "checksum of the metadata text is wrong"));
  ASSERT_EQ(group.opened.reports.size(), 1U);
  EXPECT_EQ(group.opened.reports[0].member, 0U);
  EXPECT_FALSE(group.opened.reports[0].stale);
}

TEST(LvmAssembly, AMemberThatLeftIsNotUsed) {
  GroupSpec left = spec_of(20);
  left.members = 1;
  left.volumes = linear_volume("a", "pv0", 20, 1);
  const std::uint64_t size = left.device_bytes();
  const OpenGroup group =
      open_lvm({make_disk(1, 1, spec_of(3).text(), size), make_disk(0, 0, left.text(), size)});
  EXPECT_EQ(group.opened.devices.size(), 1U);
  EXPECT_EQ(word_at(*group.at("vgs-a").device, 0), StampedDisk::stamp(0, kStart + 20 * kExtent));
  EXPECT_TRUE(
      holds(group.reason(), "no longer belongs to volume group vgs: its metadata has seqno 3"));
  ASSERT_EQ(group.opened.reports.size(), 1U);
  EXPECT_EQ(group.opened.reports[0].member, 0U);
  EXPECT_TRUE(group.opened.reports[0].stale);
}

TEST(LvmAssembly, OfDuplicatesTheNewestThenTheLargeEnoughThenTheFirst) {
  const std::uint64_t size = spec_of(1).device_bytes();
  const StampedDiskPtr other = make_disk(0, 0, spec_of(5).text(), size);
  const auto taken = [&](const StampedDiskPtr& a, const StampedDiskPtr& b) {
    const OpenGroup group = open_lvm({other, a, b});
    EXPECT_TRUE(holds(group.reason(), "is here more than once"));
    return disk_of(*group.at("vgs-b").device);
  };
  const StampedDiskPtr first = make_disk(11, 1, spec_of(5).text(), size);
  const StampedDiskPtr second = make_disk(12, 1, spec_of(5).text(), size);
  const StampedDiskPtr old = make_disk(13, 1, spec_of(4).text(), size);
  const StampedDiskPtr small = make_disk(14, 1, spec_of(5).text(), size - 512);
  const StampedDiskPtr large = make_disk(15, 1, spec_of(5).text(), size + 512);
  EXPECT_EQ(taken(first, second), 11U);
  EXPECT_EQ(taken(second, first), 12U);
  EXPECT_EQ(taken(old, second), 12U);
  EXPECT_EQ(taken(second, old), 12U);
  EXPECT_EQ(taken(small, second), 12U);
  EXPECT_EQ(taken(second, small), 12U);
  EXPECT_EQ(taken(small, large), 15U);
  EXPECT_EQ(taken(old, small), 14U);
}

TEST(LvmAssembly, TwoHistoriesOfOneSeqnoAreSaid) {
  GroupSpec other = spec_of(5);
  other.volumes = linear_volume("a", "pv0", 77, 1) + linear_volume("b", "pv1", 77, 1);
  const std::uint64_t size = other.device_bytes();
  const OpenGroup group =
      open_lvm({make_disk(0, 0, spec_of(5).text(), size), make_disk(1, 1, other.text(), size)});
  EXPECT_EQ(word_at(*group.at("vgs-b").device, 0), StampedDisk::stamp(1, kStart + 5 * kExtent));
  EXPECT_EQ(group.state(), "degraded");
  EXPECT_TRUE(holds(group.reason(), "differs from that of"));
}

TEST(LvmAssembly, OlderMetadataWhenTheNewestCannotBeParsed) {
  std::string broken = spec_of(9).text();
  broken.replace(broken.find("extent_size = 128"), 17, "extent_size = 0.5");
  const std::uint64_t size = spec_of(1).device_bytes();
  const OpenGroup group =
      open_lvm({make_disk(0, 0, broken, size), make_disk(1, 1, spec_of(8).text(), size)});
  EXPECT_EQ(group.state(), "damaged");
  EXPECT_TRUE(holds(group.reason(), "entry \"extent_size\" is not valid"));
  EXPECT_TRUE(holds(group.reason(), "older metadata is used, with seqno 8"));
  EXPECT_EQ(word_at(*group.at("vgs-a").device, 0), StampedDisk::stamp(0, kStart + 8 * kExtent));
  EXPECT_THROW(open_lvm({make_disk(0, 0, broken, size)}), Error);
}

TEST(LvmAssembly, MembersMarkedAsMissingAreReadAndSaid) {
  GroupSpec spec = spec_of(5);
  spec.member_flags[1] = "MISSING";
  const OpenGroup group = open_lvm(as_devices(make_group(spec)));
  EXPECT_EQ(group.state(), "degraded");
  EXPECT_TRUE(holds(group.reason(), "is marked as missing"));
  EXPECT_FALSE(group.at("vgs-a").trouble);
  EXPECT_EQ(group.at("vgs-b").trouble->state, Trouble::degraded);
  EXPECT_EQ(word_at(*group.at("vgs-b").device, 0), StampedDisk::stamp(1, kStart + 5 * kExtent));
}

TEST(LvmAssembly, PeculiaritiesAreNotes) {
  GroupSpec spec = spec_of(5);
  spec.more = "lock_type = \"sanlock\"\nsystem_id = \"elsewhere\"";
  std::string text = spec.text();
  text.replace(text.find("\"RESIZEABLE\""), 12, "\"EXPORTED\", \"CLUSTERED\"");
  const std::uint64_t size = spec.device_bytes();
  const OpenGroup group = open_lvm({make_disk(0, 0, text, size), make_disk(1, 1, text, size)});
  EXPECT_EQ(group.state(), "note");
  EXPECT_TRUE(holds(group.reason(), "vgs is exported"));
  EXPECT_TRUE(holds(group.reason(), "shared between hosts (sanlock)"));
  EXPECT_FALSE(group.at("vgs-a").trouble);
}

TEST(LvmAssembly, WithoutAGroupEachMemberIsExplained) {
  const std::uint64_t size = spec_of(1).device_bytes();
  const StampedDiskPtr damaged = make_disk(1, 1, spec_of(3).text(), size);
  damaged->flip(4096 + 600);
  const OpenGroup group =
      open_lvm({make_disk(5, 5, "", size, false), damaged, make_disk(6, 6, "", size)});
  EXPECT_TRUE(group.opened.devices.empty());
  EXPECT_EQ(group.state(), "damaged");
  EXPECT_TRUE(holds(group.reason(), hyphenated(pv_uuid(5)) + " (pv0) holds no metadata"));
  EXPECT_TRUE(holds(group.reason(), hyphenated(pv_uuid(1)) + " (pv1): metadata area at 4096"));
  EXPECT_TRUE(holds(group.reason(), hyphenated(pv_uuid(6)) + " (pv2) holds no metadata"));
}

TEST(LvmAssembly, EveryMemberMissingButOne) {
  GroupSpec spec;
  spec.members = 40;
  spec.volumes = linear_volume("a", "pv39", 0, 1);
  const std::vector<StampedDiskPtr> disks = make_group(spec);
  const OpenGroup group = open_lvm({disks[39]});
  EXPECT_FALSE(group.at("vgs-a").trouble);
  EXPECT_TRUE(holds(group.reason(), "39 of 40 physical volumes"));
  EXPECT_TRUE(holds(group.reason(), "and 23 more"));
}

}  // namespace peelfs::test
