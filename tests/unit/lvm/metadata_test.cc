// What a volume group's text says, and each way in which it can contradict itself.
#include <gtest/gtest.h>

#include <thread>

#include "lvm/config.h"
#include "lvm/metadata.h"
#include "lvm_open.h"
#include "maker.h"

namespace peelfs::test {

namespace {

testing::AssertionResult holds(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << part << "\" is not in \"" << text << "\"";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  if (at != std::string::npos) text.replace(at, from.size(), to);
  return text;
}

GroupSpec plain_group() {
  GroupSpec spec;
  spec.volumes = linear_volume("good", "pv1", 0, 4) + linear_volume("bad", "pv0", 10, 6);
  return spec;
}

/// Opens a group with this text on both disks.
OpenGroup open_text(const std::string& text) {
  std::vector<StampedDiskPtr> disks = make_group(plain_group());
  for (unsigned i = 0; i < 2; ++i) {
    VolumeSpec volume;
    volume.uuid = pv_uuid(i);
    volume.areas.push_back({});
    volume.areas.back().text = text;
    write_volume(*disks[i], volume);
  }
  return open_lvm(as_devices(disks));
}

/// Opens plain_group() with the volume "bad" replaced; "good" must not suffer by it.
/// @return what is said of it
std::string damaged_volume(const std::string& volume) {
  GroupSpec spec = plain_group();
  spec.volumes = volume + linear_volume("good", "pv1", 0, 4);
  const OpenGroup group = open_lvm(as_devices(make_group(spec)));
  const Inner& good = group.at("vgs-good");
  EXPECT_FALSE(good.trouble) << good.trouble->reason;
  EXPECT_EQ(word_at(*good.device, 8), StampedDisk::stamp(1, (1U << 20U) + 8));
  const Inner& bad = group.at("vgs-bad");
  if (!bad.trouble) return "no trouble";
  EXPECT_EQ(bad.trouble->state, Trouble::damaged);
  if (bad.device->size() != 0) {
    EXPECT_THROW(read_bytes(*bad.device, 0, 1), Error);
  }
  return bad.trouble->reason;
}

std::string damaged_segments(const std::vector<std::string>& segments) {
  return damaged_volume(volume_text("bad", segments));
}

}  // namespace

TEST(LvmMetadata, IsReadAsItStands) {
  GroupSpec spec = plain_group();
  spec.member_flags[1] = "MISSING";
  spec.more = "system_id = \"host\"\nlock_type = \"sanlock\"";
  const lvm::VolumeGroup group = lvm::parse_metadata(spec.text());
  EXPECT_EQ(group.name, "vgs");
  EXPECT_EQ(group.uuid, spec.uuid);
  EXPECT_EQ(group.seqno, 7U);
  EXPECT_EQ(group.extent_size, 128U);
  EXPECT_EQ(group.system_id, "host");
  EXPECT_EQ(group.lock_type, "sanlock");
  ASSERT_EQ(group.members.size(), 2U);
  EXPECT_EQ(group.members[0].uuid, pv_uuid(0));
  EXPECT_EQ(group.members[0].device_hint, "/dev/sda");
  EXPECT_EQ(group.members[0].first_extent, 2048U);
  EXPECT_EQ(group.members[0].extents, 1000U);
  EXPECT_FALSE(group.members[0].missing);
  EXPECT_TRUE(group.members[1].missing);
  ASSERT_EQ(group.volumes.size(), 2U);
  EXPECT_EQ(group.volumes[0].name, "good");
  EXPECT_TRUE(group.volumes[0].visible);
  EXPECT_EQ(group.volumes[1].extents, 6U);
  EXPECT_EQ(group.volumes[1].segments.at(0).areas.at(0).extent, 10U);
}

TEST(LvmMetadata, TheGroupsOwnFieldsAreChecked) {
  const std::string text = plain_group().text();
  const auto reason = [](const std::string& changed) -> std::string {
    try {
      return open_text(changed).reason();
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::damaged);
      return error.what();
    }
  };
  EXPECT_TRUE(holds(reason(replaced(text, "extent_size = 128", "extent_size = 0")), "extent_size"));
  EXPECT_TRUE(holds(reason(replaced(text, "extent_size = 128", "extent_size = 4294967296")),
                    "found 4294967296, expected a number up to 4294967295"));
  EXPECT_TRUE(holds(reason(replaced(text, "extent_size = 128", "extent_size = -1")), "found -1"));
  EXPECT_TRUE(
      holds(reason(replaced(text, "extent_size = 128", "extent_size = \"x\"")), "found \"x\""));
  EXPECT_TRUE(
      holds(reason(replaced(text, "extent_size = 128", "")), "lacks the entry \"extent_size\""));
  // Found by the scan of the text already, in the probe.
  EXPECT_TRUE(holds(reason(replaced(text, "seqno = 7", "")), "no seqno"));
  EXPECT_TRUE(holds(reason(replaced(text, "id = ", "ix = ")), "no valid id"));
  EXPECT_TRUE(holds(reason(replaced(text, "seqno = 7", "seqno = 7 = 7")), "cannot be parsed"));
  EXPECT_TRUE(holds(reason(replaced(text, "seqno = 7", "seqno = 99999999999999999999")), "seqno"));
}

TEST(LvmMetadata, TheParserIsSilent) {
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  for (const char* text :
       {"", "a", "a=", "a={", "vg {", "vg { a = [ 1, }", "\"", "a=99999999999999999999", "a=1.5.5",
        "{}", "a b", "'", "=1", "[", "vg { a = 1 b }"}) {
    EXPECT_THROW(lvm::ConfigTree{text}, Error) << text;
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

TEST(LvmMetadata, ParsesInManyThreads) {
  const std::string text = plain_group().text();
  std::vector<std::thread> threads;
  std::vector<std::string> said(8);
  for (std::size_t i = 0; i < said.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        const std::string bad = text + "x" + std::to_string(i) + " = ";
        try {
          if (lvm::parse_metadata(text).volumes.size() != 2) said[i] = "wrong";
          lvm::parse_metadata(bad);
          said[i] = "accepted";
        } catch (const Error& error) {
          if (std::string(error.what()).find("Parse error") == std::string::npos)
            said[i] = error.what();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& one : said) EXPECT_EQ(one, "");
}

TEST(LvmMetadata, SegmentsMustTileTheVolume) {
  EXPECT_TRUE(holds(damaged_segments({segment_text(0, 2, linear_on("pv0", 0)),
                                      segment_text(3, 2, linear_on("pv0", 9))}),
                    "found 2 extents from 3, expected at least one, from 2"));
  EXPECT_TRUE(holds(damaged_segments({segment_text(0, 2, linear_on("pv0", 0)),
                                      segment_text(1, 2, linear_on("pv0", 9))}),
                    "found 2 extents from 1"));
  EXPECT_TRUE(holds(damaged_segments({segment_text(1, 2, linear_on("pv0", 0))}), "from 0"));
  EXPECT_TRUE(
      holds(damaged_segments({segment_text(0, 0, linear_on("pv0", 0))}), "found 0 extents"));
  EXPECT_TRUE(holds(damaged_segments({segment_text(0, 4294967295, linear_on("pv0", 0)),
                                      segment_text(4294967295, 4294967295, linear_on("pv0", 0))}),
                    "more extents than can be counted"));
  EXPECT_TRUE(holds(damaged_segments({}), "segment_count"));
  EXPECT_TRUE(holds(damaged_volume(replaced(linear_volume("bad", "pv0", 0, 1), "segment_count = 1",
                                            "segment_count = 2")),
                    "found 2, expected 1"));
  EXPECT_TRUE(
      holds(damaged_volume(replaced(linear_volume("bad", "pv0", 0, 1), "segment_count = 1", "")),
            "lacks the entry \"segment_count\""));
}

TEST(LvmMetadata, EntriesOfSegmentsAreChecked) {
  const std::string good = segment_text(0, 2, linear_on("pv0", 0));
  const auto reason = [&](const std::string& from, const std::string& to) {
    return damaged_segments({replaced(good, from, to)});
  };
  EXPECT_TRUE(holds(reason("start_extent = 0", ""), "lacks the entry \"start_extent\""));
  EXPECT_TRUE(holds(reason("extent_count = 2", "extent_count = 4294967296"), "found 4294967296"));
  EXPECT_TRUE(holds(reason("extent_count = 2", "extent_count = -2"), "found -2"));
  EXPECT_TRUE(holds(reason("extent_count = 2", "extent_count = [1, 2]"), "found a list"));
  EXPECT_TRUE(holds(reason("stripe_count = 1", "stripe_count = 0"), "stripe_count = 0"));
  EXPECT_TRUE(holds(reason("stripe_count = 1", "stripe_count = 4000000000"),
                    "found 2 values, expected two for each of stripe_count = 4000000000"));
  EXPECT_TRUE(holds(reason("\"pv0\", 0", "\"pv0\""), "found 1 values"));
  EXPECT_TRUE(holds(reason("\"pv0\", 0", "0, \"pv0\""), "is not of volumes and extents"));
  EXPECT_TRUE(holds(reason("\"pv0\", 0", "\"pv0\", 4294967296"), "is not of volumes and extents"));
  EXPECT_TRUE(holds(reason("\"pv0\", 0", "\"pv7\", 0"), "found \"pv7\""));
  EXPECT_TRUE(holds(reason("\"pv0\", 0", "\"pv0\", 999"),
                    "found extents 999 to 1000, expected less than 1000"));
  EXPECT_TRUE(holds(reason("type = \"striped\"", "type = 5"), "expected a word"));
}

TEST(LvmMetadata, StripesAreChecked) {
  const auto stripes = [](std::uint64_t extents, const std::string& size) {
    return damaged_segments({segment_text(0, extents,
                                          "type = \"striped\"\nstripe_count = 2\n" + size +
                                              "\nstripes = [\"pv0\", 0, \"pv1\", 100]")});
  };
  EXPECT_EQ(stripes(4, "stripe_size = 16"), "no trouble");
  EXPECT_TRUE(holds(stripes(5, "stripe_size = 16"), "found 5 extents, expected a multiple of 2"));
  EXPECT_TRUE(holds(stripes(4, "stripe_size = 0"), "found 0 sectors"));
  EXPECT_TRUE(
      holds(stripes(4, "stripe_size = 24"), "expected a number that divides the 256 sectors"));
  EXPECT_TRUE(holds(stripes(4, "stripe_size = 4294967295"), "stripe_size is not valid"));
  EXPECT_TRUE(holds(stripes(4, ""), "lacks the entry \"stripe_size\""));
}

TEST(LvmMetadata, SizesThatCannotBe) {
  GroupSpec spec = plain_group();
  spec.extent_size = 4294967295;
  spec.pe_start = 9223372036854775807ULL;
  spec.pe_count = 4294967295;
  spec.dev_size = 1;
  spec.members = 1;
  spec.volumes = linear_volume("far", "pv0", 4294967290, 4) + linear_volume("zero", "pv0", 0, 1) +
                 volume_text("wide", {segment_text(0, 4294967295, "type = \"zero\"")});
  VolumeSpec volume;
  volume.uuid = pv_uuid(0);
  volume.areas.push_back({});
  volume.areas.back().text = spec.text();
  auto disk = std::make_shared<StampedDisk>(0, 1U << 21U);
  write_volume(*disk, volume);
  const OpenGroup group = open_lvm({disk});
  for (const char* name : {"vgs-far", "vgs-zero", "vgs-wide"}) {
    ASSERT_TRUE(group.at(name).trouble) << name;
    EXPECT_EQ(group.at(name).trouble->state, Trouble::damaged) << name;
  }
  EXPECT_TRUE(holds(group.at("vgs-zero").trouble->reason, "64-bit"));
  EXPECT_TRUE(holds(group.at("vgs-wide").trouble->reason, "larger than can be"));
}

TEST(LvmMetadata, DamagedMembersHurtOnlyWhatLiesOnThem) {
  const std::string text = plain_group().text();
  const auto reason = [&](const std::string& from, const std::string& to) {
    const OpenGroup group = open_text(replaced(text, from, to));
    EXPECT_FALSE(group.at("vgs-good").trouble);
    return group.at("vgs-bad").trouble ? group.at("vgs-bad").trouble->reason : "";
  };
  EXPECT_TRUE(
      holds(reason("pe_start = 2048", "pe_start = \"x\""), "entry \"pe_start\" is not valid"));
  EXPECT_TRUE(holds(reason("pe_count = 1000", ""), "lacks the entry \"pe_count\""));
  EXPECT_TRUE(holds(reason("pe_count = 1000", "pe_count = 15"), "expected less than 15"));
  EXPECT_TRUE(holds(reason(hyphenated(pv_uuid(0)), "short"), "found \"short\""));
  // With the UUID of the other one it is a second description of that.
  const OpenGroup group = open_text(replaced(text, hyphenated(pv_uuid(1)), hyphenated(pv_uuid(0))));
  EXPECT_TRUE(holds(group.at("vgs-good").trouble->reason, "two physical volumes"));
}

TEST(LvmMetadata, TwoVolumesOfOneName) {
  GroupSpec spec = plain_group();
  spec.volumes = linear_volume("twin", "pv0", 0, 1) + linear_volume("twin", "pv0", 5, 2);
  const OpenGroup group = open_lvm(as_devices(make_group(spec)));
  ASSERT_EQ(group.opened.devices.size(), 2U);
  EXPECT_FALSE(group.opened.devices[0].trouble);
  EXPECT_TRUE(
      holds(group.opened.devices[1].trouble->reason, "another logical volume of this name"));
}

TEST(LvmMetadata, VolumesThatShareExtentsAreAccused) {
  GroupSpec spec = plain_group();
  spec.volumes = linear_volume("a", "pv0", 0, 10) + linear_volume("b", "pv0", 9, 5) +
                 linear_volume("c", "pv0", 14, 5) + linear_volume("d", "pv1", 0, 5);
  const OpenGroup group = open_lvm(as_devices(make_group(spec)));
  EXPECT_TRUE(holds(group.at("vgs-a").trouble->reason, "extent 9 of physical volume"));
  EXPECT_TRUE(holds(group.at("vgs-a").trouble->reason, "belongs to b, too"));
  EXPECT_TRUE(holds(group.at("vgs-b").trouble->reason, "belongs to a, too"));
  EXPECT_EQ(group.at("vgs-b").trouble->state, Trouble::damaged);
  EXPECT_EQ(word_at(*group.at("vgs-b").device, 0), StampedDisk::stamp(0, (1U << 20U) + 9 * 65536));
  EXPECT_FALSE(group.at("vgs-c").trouble);
  EXPECT_FALSE(group.at("vgs-d").trouble);
}

TEST(LvmMetadata, VolumesMadeOfThemselves) {
  GroupSpec spec = plain_group();
  spec.volumes = linear_volume("self", "self", 0, 1) + linear_volume("a", "b", 0, 1) +
                 linear_volume("b", "a", 0, 1) + linear_volume("user", "a", 0, 1) +
                 linear_volume("good", "pv0", 0, 1);
  const OpenGroup group = open_lvm(as_devices(make_group(spec)));
  for (const char* name : {"vgs-self", "vgs-a", "vgs-b", "vgs-user"}) {
    ASSERT_TRUE(group.at(name).trouble) << name;
    EXPECT_EQ(group.at(name).trouble->state, Trouble::damaged);
    EXPECT_TRUE(holds(group.at(name).trouble->reason, "made of itself")) << name;
    EXPECT_EQ(group.at(name).device->size(), 65536U);
  }
  EXPECT_FALSE(group.at("vgs-good").trouble);
}

TEST(LvmMetadata, ChainsOfVolumesAreBounded) {
  GroupSpec spec = plain_group();
  // Users before what they use, and the other way round: the order must not matter.
  for (const bool reverse : {false, true}) {
    std::string chain = linear_volume("v0", "pv0", 0, 1);
    for (int i = 1; i <= 1000; ++i) {
      const std::string one =
          linear_volume("v" + std::to_string(i), "v" + std::to_string(i - 1), 0, 1);
      chain = reverse ? one + chain : chain + one;
    }
    spec.volumes = chain;
    const std::vector<StampedDiskPtr> disks = make_group(spec);
    const OpenGroup group = open_lvm(as_devices(disks));
    EXPECT_FALSE(group.at("vgs-v32").trouble);
    EXPECT_EQ(word_at(*group.at("vgs-v32").device, 0), StampedDisk::stamp(0, 1U << 20U));
    EXPECT_TRUE(holds(group.at("vgs-v33").trouble->reason, "nested too deeply"));
    EXPECT_EQ(group.at("vgs-v1000").trouble->state, Trouble::damaged);
  }
}

TEST(LvmMetadata, NamesOfAllSorts) {
  GroupSpec spec = plain_group();
  spec.name = "a-b";
  spec.volumes = linear_volume("c--d-", "pv0", 0, 1) + linear_volume("+_.x", "pv0", 1, 1);
  const OpenGroup group = open_lvm(as_devices(make_group(spec)));
  EXPECT_EQ(group.at("a--b-c----d--").path, (std::vector<std::string>{"a-b", "c--d-"}));
  EXPECT_EQ(group.at("a--b-c----d--").device->describe(), "LV a-b/c--d-");
  group.at("a--b-+_.x");
  EXPECT_EQ(group.claims[0]->membership->group_name, "vg a-b");
}

TEST(LvmMetadata, TextOfTheDiskReachesNoTerminal) {
  std::string text = plain_group().text();
  for (int i = 0; i < 2; ++i) text = replaced(text, i == 0 ? "/dev/sda" : "/dev/sdb", "\x1b[2J");
  std::vector<StampedDiskPtr> disks = make_group(plain_group());
  VolumeSpec volume;
  volume.uuid = pv_uuid(0);
  volume.areas.push_back({});
  volume.areas.back().text = text;
  write_volume(*disks[0], volume);
  const OpenGroup group = open_lvm({disks[0]});
  EXPECT_TRUE(holds(group.reason(), "last seen as \\x1b[2J"));
  EXPECT_TRUE(holds(group.at("vgs-good").trouble->reason, "last seen as \\x1b[2J"));
}

TEST(LvmMetadata, NumberOfDevicesIsLimited) {
  GroupSpec spec = plain_group();
  spec.volumes.clear();
  for (int i = 0; i < 30; ++i) spec.volumes += linear_volume("v" + std::to_string(i), "pv0", i, 1);
  Limits limits;
  limits.devices = 10;
  const OpenGroup group = open_lvm(as_devices(make_group(spec)), limits);
  EXPECT_EQ(group.opened.devices.size(), 10U);
  EXPECT_TRUE(holds(group.reason(), "only the first 10 of 30"));
}

}  // namespace peelfs::test
