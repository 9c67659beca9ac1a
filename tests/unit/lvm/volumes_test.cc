// Where the bytes of a logical volume come from.
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <random>

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

OpenGroup open_group(const GroupSpec& spec) {
  return open_lvm(as_devices(make_group(spec)));
}

/// Whether the 8 bytes at `offset` of the device lie at `where` on disk `disk`.
testing::AssertionResult lies(const BlockDevice& device, std::uint64_t offset, unsigned disk,
                              std::uint64_t where) {
  const std::uint64_t found = word_at(device, offset);
  if (found == StampedDisk::stamp(disk, where)) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "byte " << offset << " lies on disk " << (found >> 52U) << " at "
         << (found & ((1ULL << 52U) - 1)) * 8 << ", not on disk " << disk << " at " << where;
}

std::string striped_on(const std::vector<std::pair<std::string, int>>& areas, unsigned size) {
  std::string text = "type = \"striped\"\nstripe_count = " + std::to_string(areas.size()) +
                     "\nstripe_size = " + std::to_string(size) + "\n\nstripes = [\n";
  for (std::size_t i = 0; i < areas.size(); ++i) {
    text += "\"" + areas[i].first + "\", " + std::to_string(areas[i].second) +
            (i + 1 < areas.size() ? ",\n" : "\n");
  }
  return text + "]";
}

std::string read_failure(const BlockDevice& device, std::uint64_t offset) {
  try {
    read_bytes(device, offset, 1);
  } catch (const Error& error) {
    EXPECT_EQ(error.error_number(), EIO);
    return error.what();
  }
  return "";
}

}  // namespace

TEST(LvmVolumes, SegmentsInAnyOrderOfText) {
  GroupSpec spec;
  spec.members = 3;
  std::vector<std::string> segments;
  std::vector<std::pair<unsigned, unsigned>> where;  // disk and extent of each of the volume's
  std::mt19937 random(5);
  std::vector<unsigned> starts;
  for (unsigned i = 0; i < 300; ++i) starts.push_back(i);
  std::shuffle(starts.begin(), starts.end(), random);
  for (unsigned i = 0; i < 300; ++i) {
    const unsigned disk = random() % 3, extent = starts[i] * 3, count = 1 + random() % 3;
    segments.push_back(
        segment_text(where.size(), count, linear_on("pv" + std::to_string(disk), extent)));
    for (unsigned k = 0; k < count; ++k) where.emplace_back(disk, extent + k);
  }
  std::shuffle(segments.begin(), segments.end(), random);
  spec.volumes = volume_text("many", segments);
  const OpenGroup group = open_group(spec);
  const Inner& many = group.at("vgs-many");
  ASSERT_EQ(many.device->size(), where.size() * kExtent);
  EXPECT_FALSE(many.trouble) << many.trouble->reason;
  for (std::size_t i = 0; i < where.size(); ++i) {
    const std::uint64_t there = kStart + where[i].second * kExtent;
    ASSERT_TRUE(lies(*many.device, i * kExtent, where[i].first, there));
    ASSERT_TRUE(lies(*many.device, (i + 1) * kExtent - 8, where[i].first, there + kExtent - 8));
  }
  check_contract(*many.device);
}

TEST(LvmVolumes, StripesAreDealtInTurn) {
  for (const unsigned stripes : {2U, 3U, 5U}) {
    for (const unsigned size : {8U, 32U, 128U}) {  // sectors
      GroupSpec spec;
      spec.members = stripes;
      std::vector<std::pair<std::string, int>> areas;
      for (unsigned i = 0; i < stripes; ++i) {
        areas.emplace_back("pv" + std::to_string((i + 1) % stripes), 7 + 10 * i);
      }
      // A linear segment before it, so that the stripes do not begin with the volume.
      spec.volumes = volume_text("s", {segment_text(1, 3 * stripes, striped_on(areas, size)),
                                       segment_text(0, 1, linear_on("pv0", 500))});
      const OpenGroup group = open_group(spec);
      const Inner& inner = group.at("vgs-s");
      ASSERT_EQ(inner.device->size(), (1 + 3 * stripes) * kExtent);
      EXPECT_TRUE(lies(*inner.device, 0, 0, kStart + 500 * kExtent));
      const std::uint64_t chunk = size * 512;
      for (std::uint64_t at = 0; at < 3 * stripes * kExtent; at += chunk / 2) {
        const std::uint64_t number = at / chunk;
        const unsigned stripe = number % stripes;
        const std::uint64_t there =
            kStart + (7 + 10 * stripe) * kExtent + number / stripes * chunk + at % chunk;
        ASSERT_TRUE(lies(*inner.device, kExtent + at, (stripe + 1) % stripes, there));
      }
      check_contract(*inner.device);
    }
  }
}

TEST(LvmVolumes, HugeOnes) {
  // 4 disks of 8 TiB with 4 MiB extents, striped to 32 TiB; and linear beyond 2^32 sectors.
  GroupSpec spec;
  spec.members = 4;
  spec.extent_size = 8192;
  spec.pe_count = 2'097'152;
  spec.volumes =
      volume_text(
          "s", {segment_text(0, 8'388'000,
                             striped_on({{"pv0", 1}, {"pv1", 2}, {"pv2", 3}, {"pv3", 4}}, 128))}) +
      linear_volume("end", "pv3", 2'097'151, 1);
  const OpenGroup group = open_group(spec);
  const Inner& s = group.at("vgs-s");
  EXPECT_FALSE(s.trouble) << s.trouble->reason;
  EXPECT_EQ(s.device->size(), 8'388'000ULL << 22U);
  const std::uint64_t last = s.device->size() - 8;
  EXPECT_TRUE(lies(*s.device, last, 3, kStart + ((4ULL + 2'097'000) << 22U) - 8));
  EXPECT_TRUE(lies(*s.device, last - 65536, 2, kStart + ((3ULL + 2'097'000) << 22U) - 8));
  EXPECT_TRUE(lies(*s.device, (1ULL << 42U) + 65536, 1, kStart + (2ULL << 22U) + (1ULL << 40U)));
  EXPECT_TRUE(lies(*group.at("vgs-end").device, 16, 3, kStart + (2'097'151ULL << 22U) + 16));
}

TEST(LvmVolumes, ExtentSizesOfAllSorts) {
  for (const std::uint64_t extent : {1ULL, 2ULL, 3ULL, 24ULL, 1000ULL, 8192ULL, 2097152ULL}) {
    GroupSpec spec;
    spec.members = 1;
    spec.extent_size = extent;
    spec.pe_start = 2048 + 37;
    spec.volumes = linear_volume("v", "pv0", 11, 5);
    const OpenGroup group = open_group(spec);
    const Inner& v = group.at("vgs-v");
    EXPECT_EQ(v.device->size(), 5 * extent * 512);
    EXPECT_TRUE(lies(*v.device, 4 * extent * 512, 0, (2048 + 37 + 15 * extent) * 512));
  }
}

TEST(LvmVolumes, ZeroAndError) {
  GroupSpec spec;
  spec.volumes =
      volume_text("z", {segment_text(0, 3, "type = \"zero\"")}) +
      volume_text("m",
                  {segment_text(0, 2, linear_on("pv0", 0)), segment_text(2, 1, "type = \"error\""),
                   segment_text(3, 1, "type = \"zero\""), segment_text(4, 1, linear_on("pv1", 0))});
  const OpenGroup group = open_group(spec);
  const Inner& z = group.at("vgs-z");
  EXPECT_FALSE(z.trouble);
  EXPECT_EQ(word_at(*z.device, 3 * kExtent - 8), 0U);
  EXPECT_FALSE(block_status(*z.device, 0, z.device->size()).data);
  EXPECT_EQ(z.device->allocated_bytes(), 0U);
  const Inner& m = group.at("vgs-m");
  EXPECT_EQ(m.trouble->state, Trouble::degraded);
  EXPECT_TRUE(
      holds(m.trouble->reason, "up to 65536 of 327680 bytes cannot be read, from byte 131072"));
  EXPECT_TRUE(lies(*m.device, 2 * kExtent - 8, 0, kStart + 2 * kExtent - 8));
  EXPECT_TRUE(holds(read_failure(*m.device, 2 * kExtent), "extents 2 to 2 are of type error"));
  EXPECT_TRUE(holds(read_failure(*m.device, 3 * kExtent - 1), "LV vgs/m"));
  EXPECT_EQ(word_at(*m.device, 3 * kExtent), 0U);
  EXPECT_TRUE(lies(*m.device, 4 * kExtent, 1, kStart));
}

TEST(LvmVolumes, TypesThatComeLater) {
  for (const char* type :
       {"raid0", "raid0_meta", "raid4", "raid5", "raid5_ls", "raid6_nr", "raid10", "thin",
        "thin-pool", "cache", "cache-pool", "writecache", "vdo", "vdo-pool", "integrity",
        "striped+NEWFLAG", "raid1+RESHAPE", "wonderful"}) {
    GroupSpec spec;
    spec.volumes =
        volume_text("v", {segment_text(0, 3,
                                       "type = \"" + std::string(type) +
                                           "\"\ndata = \"d\"\norigin = \"o\"\npolicy_settings "
                                           "{\na=1 b=0.5\n}")});
    const OpenGroup group = open_group(spec);
    const Inner& v = group.at("vgs-v");
    ASSERT_TRUE(v.trouble) << type;
    EXPECT_EQ(v.trouble->state, Trouble::unsupported);
    EXPECT_TRUE(holds(v.trouble->reason, "segment type " + std::string(type) + " "));
    EXPECT_EQ(v.device->size(), 3 * kExtent);
    EXPECT_TRUE(holds(read_failure(*v.device, 3 * kExtent - 1), type));
  }
}

TEST(LvmVolumes, PartsAreShownAndNotPeeled) {
  GroupSpec spec;
  spec.volumes = linear_volume("top", "part", 1, 2) + hidden_volume("part", "pv1", 10, 4);
  const OpenGroup group = open_group(spec);
  EXPECT_EQ(group.opened.devices.front().name, "vgs-top");
  EXPECT_TRUE(group.at("vgs-top").peel);
  EXPECT_FALSE(group.at("vgs-part").peel);
  EXPECT_EQ(group.at("vgs-top").members, (std::vector<std::size_t>{1}));
  EXPECT_TRUE(lies(*group.at("vgs-top").device, kExtent, 1, kStart + 12 * kExtent));
}

TEST(LvmVolumes, PartsMustBeLargeEnough) {
  GroupSpec spec;
  spec.volumes = linear_volume("top", "part", 3, 2) + hidden_volume("part", "pv1", 10, 4);
  EXPECT_TRUE(
      holds(open_group(spec).at("vgs-top").trouble->reason,
            "leaves the logical volume part that it lies on (found 131072 bytes at offset 196608"));
}

TEST(LvmVolumes, WhatIsWrongWithAPartIsSaidOfTheWhole) {
  GroupSpec spec;
  spec.volumes = linear_volume("top", "part", 0, 2) + hidden_volume("part", "pv9", 10, 4) +
                 linear_volume("top2", "part2", 0, 2) +
                 volume_text("part2", {segment_text(0, 2, linear_on("pv0", 0)),
                                       segment_text(2, 2, "type = \"thin\"")});
  const OpenGroup group = open_group(spec);
  EXPECT_EQ(group.at("vgs-top").trouble->state, Trouble::damaged);
  EXPECT_TRUE(holds(group.at("vgs-top").trouble->reason, "pv9"));
  // The half that cannot be read is not the half that is used.
  EXPECT_FALSE(group.at("vgs-top2").trouble);
  EXPECT_EQ(group.at("vgs-part2").trouble->state, Trouble::unsupported);
}

TEST(LvmVolumes, SnapshotsAreNotTheirStores) {
  GroupSpec spec;
  const std::string link = "type = \"snapshot\"\nchunk_size = 8\norigin = \"o\"\ncow_store = \"s\"";
  spec.volumes = linear_volume("o", "pv0", 0, 9) + hidden_volume("s", "pv1", 0, 2) +
                 volume_text("snapshot0", {segment_text(0, 9, link)});
  const OpenGroup group = open_group(spec);
  EXPECT_FALSE(group.at("vgs-o").trouble);
  const Inner& s = group.at("vgs-s");
  EXPECT_EQ(s.device->size(), 9 * kExtent);
  EXPECT_EQ(s.trouble->state, Trouble::unsupported);
  EXPECT_TRUE(holds(s.trouble->reason, "snapshot of o"));
  EXPECT_TRUE(holds(read_failure(*s.device, 0), "segment type snapshot"));
  EXPECT_EQ(group.at("vgs-s-cow").device->size(), 2 * kExtent);
  EXPECT_TRUE(lies(*group.at("vgs-s-cow").device, 0, 1, kStart));
  EXPECT_EQ(group.opened.devices.size(), 3U);
}

TEST(LvmVolumes, ASnapshotWithoutAStoreIsNotLost) {
  GroupSpec spec;
  spec.volumes = volume_text("snapshot0", {segment_text(0, 9,
                                                        "type = \"snapshot\"\norigin = \"o\"\n"
                                                        "cow_store = \"nobody\"")});
  EXPECT_EQ(open_group(spec).at("vgs-snapshot0").trouble->state, Trouble::unsupported);
}

TEST(LvmVolumes, OriginsThatSnapshotsAreMergedIntoAreNotTheirStores) {
  GroupSpec spec;
  const std::string link =
      "type = \"snapshot\"\nchunk_size = 8\norigin = \"o\"\nmerging_store = \"s\"";
  spec.volumes = linear_volume("o", "pv0", 0, 9) + hidden_volume("s", "pv1", 0, 2) +
                 volume_text("snapshot0", {segment_text(0, 9, link)});
  const OpenGroup group = open_group(spec);
  EXPECT_EQ(group.at("vgs-o").trouble->state, Trouble::unsupported);
  EXPECT_TRUE(holds(group.at("vgs-o").trouble->reason, "snapshot s is being merged into it"));
  EXPECT_EQ(group.at("vgs-o").device->size(), 9 * kExtent);
  EXPECT_THROW(read_bytes(*group.at("vgs-o").device, 0, 1), Error);
}

TEST(LvmVolumes, MissingMembers) {
  GroupSpec spec;
  spec.members = 3;
  spec.volumes =
      linear_volume("whole", "pv0", 0, 4) + linear_volume("gone", "pv1", 0, 4) +
      volume_text("half", {segment_text(0, 2, linear_on("pv0", 20)),
                           segment_text(2, 2, linear_on("pv1", 20)),
                           segment_text(4, 2, linear_on("pv2", 20))}) +
      volume_text("striped", {segment_text(0, 4, striped_on({{"pv0", 40}, {"pv1", 40}}, 16))});
  std::vector<DevicePtr> devices = as_devices(make_group(spec));
  devices.erase(devices.begin() + 1);
  const OpenGroup group = open_lvm(devices);
  EXPECT_EQ(group.state(), "degraded");
  EXPECT_TRUE(holds(group.reason(), "1 of 3 physical volumes of volume group vgs missing: " +
                                        hyphenated(pv_uuid(1)) + " (last seen as /dev/sdb)"));
  EXPECT_FALSE(group.at("vgs-whole").trouble);
  EXPECT_EQ(group.at("vgs-gone").trouble->state, Trouble::missing);
  EXPECT_EQ(group.at("vgs-gone").device->size(), 4 * kExtent);
  const Inner& half = group.at("vgs-half");
  EXPECT_EQ(half.trouble->state, Trouble::degraded);
  EXPECT_EQ(half.members, (std::vector<std::size_t>{0, 1}));
  EXPECT_TRUE(lies(*half.device, 2 * kExtent - 8, 0, kStart + 22 * kExtent - 8));
  EXPECT_TRUE(lies(*half.device, 4 * kExtent, 2, kStart + 20 * kExtent));
  EXPECT_TRUE(holds(read_failure(*half.device, 2 * kExtent), hyphenated(pv_uuid(1))));
  EXPECT_TRUE(holds(read_failure(*half.device, 4 * kExtent - 1), "name the disk that holds it"));
  const Inner& striped = group.at("vgs-striped");
  EXPECT_EQ(striped.trouble->state, Trouble::missing);  // nothing larger than a chunk is there
  EXPECT_TRUE(lies(*striped.device, 16384, 0, kStart + 40 * kExtent + 8192));
  EXPECT_TRUE(holds(read_failure(*striped.device, 8192), "is missing"));
}

TEST(LvmVolumes, TruncatedMembers) {
  GroupSpec spec;
  spec.members = 1;
  spec.volumes = linear_volume("a", "pv0", 0, 10) + linear_volume("b", "pv0", 10, 10) +
                 linear_volume("c", "pv0", 20, 10);
  const std::vector<StampedDiskPtr> whole = make_group(spec);
  const std::uint64_t size = kStart + 15 * kExtent + 1000;
  auto cut = std::make_shared<StampedDisk>(0, size);
  cut->write(0, read_bytes(*whole[0], 0, kStart));
  const OpenGroup group = open_lvm({cut});
  EXPECT_EQ(group.state(), "degraded");
  EXPECT_TRUE(holds(group.reason(), "is too small: found " + std::to_string(size) + " bytes"));
  EXPECT_FALSE(group.at("vgs-a").trouble);
  const Inner& b = group.at("vgs-b");
  EXPECT_EQ(b.trouble->state, Trouble::degraded);
  EXPECT_TRUE(holds(b.trouble->reason, "is cut off (found " + std::to_string(size)));
  EXPECT_TRUE(lies(*b.device, 5 * kExtent + 992, 0, size - 8));
  EXPECT_TRUE(holds(read_failure(*b.device, 5 * kExtent + 1000), "is cut off before this byte"));
  EXPECT_EQ(group.at("vgs-c").trouble->state, Trouble::missing);
}

TEST(LvmVolumes, SectorsAreThoseOfTheCoarsestMember) {
  GroupSpec spec;
  spec.volumes = linear_volume("a", "pv0", 0, 1) +
                 volume_text("ab", {segment_text(0, 1, linear_on("pv0", 1)),
                                    segment_text(1, 1, linear_on("pv1", 1))});
  std::vector<StampedDiskPtr> disks = make_group(spec);
  auto coarse = std::make_shared<StampedDisk>(1, disks[1]->size(), 4096);
  coarse->write(0, read_bytes(*disks[1], 0, kStart));
  const OpenGroup group = open_lvm({disks[0], coarse});
  EXPECT_EQ(group.at("vgs-a").device->sector_size(), 512U);
  EXPECT_EQ(group.at("vgs-ab").device->sector_size(), 4096U);
}

TEST(LvmVolumes, LargeGroupsOpenQuickly) {
  GroupSpec spec;
  spec.members = 64;
  spec.pe_count = 100'000;
  std::string volumes;
  for (int i = 0; i < 2000; ++i) {
    const std::string pv = "pv" + std::to_string(i % 64);
    const std::string other = "pv" + std::to_string((i + 7) % 64);
    volumes += volume_text("volume" + std::to_string(i),
                           {segment_text(0, 3, linear_on(pv, i / 64 * 20)),
                            segment_text(3, 3, linear_on(other, i / 64 * 20 + 10))});
  }
  spec.volumes = volumes;
  const std::vector<DevicePtr> devices = as_devices(make_group(spec));
  const std::clock_t begin = std::clock();  // of this process: the machine has other users
  const OpenGroup group = open_lvm(devices);
  const double took = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  ASSERT_EQ(group.opened.devices.size(), 2000U);
  EXPECT_FALSE(group.opened.trouble) << group.reason();
  // A third of a second in a release build; sanitizers are slow, and squares are slower still.
  EXPECT_LT(took, 10.0);
  RecordProperty("milliseconds", static_cast<int>(took * 1000));
  const Inner& last = group.at("vgs-volume1999");
  EXPECT_TRUE(lies(*last.device, 0, 1999 % 64, kStart + 31 * 20 * kExtent));
  EXPECT_TRUE(lies(*last.device, 3 * kExtent, 2006 % 64, kStart + (31 * 20 + 10) * kExtent));
}

}  // namespace peelfs::test
