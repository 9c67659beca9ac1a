// Labels and metadata areas: where they may lie, and each way in which they can be wrong.
#include <gtest/gtest.h>

#include "lvm/crc.h"
#include "lvm/metadata_scan.h"
#include "lvm/physical_volume.h"
#include "lvm_open.h"
#include "maker.h"

namespace peelfs::test {

namespace {

GroupSpec small_group() {
  GroupSpec spec;
  spec.members = 1;
  spec.volumes = linear_volume("one", "pv0", 3, 5);
  return spec;
}

VolumeSpec small_volume() {
  VolumeSpec volume;
  volume.uuid = pv_uuid(0);
  volume.areas.push_back({});
  volume.areas.back().text = small_group().text();
  return volume;
}

StampedDiskPtr make_disk(const VolumeSpec& spec) {
  auto disk = std::make_shared<StampedDisk>(0, small_group().device_bytes());
  write_volume(*disk, spec);
  return disk;
}

/// The volume "one" of small_group() lies where its text says.
void expect_readable(const OpenGroup& group) {
  const Inner& one = group.at("vgs-one");
  ASSERT_EQ(one.device->size(), 5 * 65536U);
  EXPECT_EQ(word_at(*one.device, 65536), StampedDisk::stamp(0, (1U << 20U) + 4 * 65536));
}

/// What the probe throws, or an empty text.
std::string probe_failure(const BlockDevice& device) {
  try {
    probe_lvm(device);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::damaged);
    return error.what();
  }
  return "";
}

testing::AssertionResult holds(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << part << "\" is not in \"" << text << "\"";
}

/// Opens a volume whose only metadata area is damaged by `change`, and returns what is said of it.
template <typename Change>
std::string damaged_area(Change change) {
  const StampedDiskPtr disk = make_disk(small_volume());
  change(*disk);
  const std::optional<Claim> claim = probe_lvm(*disk);
  EXPECT_TRUE(claim && claim->membership->group == "");
  const OpenGroup group = open_lvm({disk});
  EXPECT_TRUE(group.opened.devices.empty());
  EXPECT_EQ(group.state(), "damaged");
  return group.reason();
}

Buffer area_header(const StampedDisk& disk) {
  return read_bytes(disk, 4096, 512);
}

void set(Buffer& buffer, std::size_t at, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) buffer[at + i] = static_cast<std::byte>(value >> (8 * i));
}

/// Changes a field of the area's header, and puts its checksum right.
auto change_field(std::size_t at, std::uint64_t value, std::size_t size) {
  return [=](StampedDisk& disk) {
    Buffer header = area_header(disk);
    set(header, at, value, size);
    write_area_header(disk, 4096, header);
  };
}

}  // namespace

TEST(LvmCrc, AgreesWithAnother) {
  const Buffer bytes = pattern(5000, 3);
  for (const std::size_t length : {0, 1, 7, 8, 9, 500, 4999, 5000}) {
    EXPECT_EQ(lvm::crc32(Bytes(bytes).first(length)), lvm_crc(Bytes(bytes).first(length)));
  }
  const std::uint32_t first = lvm::crc32(Bytes(bytes).first(1234));
  EXPECT_EQ(lvm::crc32(Bytes(bytes).subspan(1234), first), lvm_crc(bytes));
}

TEST(LvmLabel, IsFoundInEachOfTheFirstFourSectors) {
  for (unsigned sector = 0; sector < 4; ++sector) {
    VolumeSpec spec = small_volume();
    spec.label_sector = sector;
    const StampedDiskPtr disk = make_disk(spec);
    const std::optional<Claim> claim = probe_lvm(*disk);
    ASSERT_TRUE(claim) << sector;
    EXPECT_EQ(claim->format, "LVM2_member");
    EXPECT_EQ(claim->uuid, hyphenated(pv_uuid(0)));
    EXPECT_EQ(claim->membership->group, hyphenated(small_group().uuid));
    EXPECT_EQ(claim->membership->group_name, "vg vgs");
    expect_readable(open_lvm({disk}));
  }
}

TEST(LvmLabel, IsNotSeenElsewhere) {
  const StampedDiskPtr disk = make_disk(small_volume());
  const Buffer label = read_bytes(*disk, 512, 512);
  disk->write(512, Buffer(512));
  EXPECT_EQ(probe_lvm(*disk), std::nullopt);
  disk->write(4 * 512, label);
  EXPECT_EQ(probe_lvm(*disk), std::nullopt);
  // Copied with its surroundings: it says that it belongs in sector 1.
  disk->write(2 * 512, label);
  EXPECT_EQ(probe_lvm(*disk), std::nullopt);
}

TEST(LvmLabel, OtherDevicesAreNotClaimed) {
  EXPECT_EQ(probe_lvm(MemoryDevice(Buffer())), std::nullopt);
  EXPECT_EQ(probe_lvm(MemoryDevice(Buffer(700))), std::nullopt);
  EXPECT_EQ(probe_lvm(MemoryDevice(pattern(1U << 16U, 1))), std::nullopt);
}

TEST(LvmLabel, MdMembersAreLeftAlone) {
  const StampedDiskPtr disk = make_disk(small_volume());
  EXPECT_TRUE(probe_lvm(*disk, "LVM2_member"));
  EXPECT_EQ(probe_lvm(*disk, "linux_raid_member"), std::nullopt);
  EXPECT_EQ(probe_lvm(*disk, "isw_raid_member"), std::nullopt);
}

TEST(LvmLabel, ChecksumIsChecked) {
  const StampedDiskPtr disk = make_disk(small_volume());
  disk->flip(512 + 300);
  const std::string text = probe_failure(*disk);
  EXPECT_TRUE(holds(text, "checksum of the LVM2 label in sector 1 is wrong (found 0x"));
  EXPECT_TRUE(holds(text, "expected 0x"));
  // What is left of a label below a filesystem is no news.
  EXPECT_EQ(probe_lvm(*disk, "ext4"), std::nullopt);
}

TEST(LvmLabel, ASoundOneCountsWhateverAnotherLooksLike) {
  VolumeSpec spec = small_volume();
  spec.label_sector = 3;
  const StampedDiskPtr disk = make_disk(spec);
  Buffer wrong = read_bytes(*disk, 3 * 512, 512);
  set(wrong, 8, 1, 8);
  disk->write(512, wrong);
  expect_readable(open_lvm({disk}));
}

TEST(LvmLabel, HeaderOutsideOfTheSectorIsRefused) {
  for (const std::uint32_t offset : {500U, 513U, 0xffffffffU}) {
    const StampedDiskPtr disk = make_disk(small_volume());
    Buffer label = read_bytes(*disk, 512, 512);
    set(label, 20, offset, 4);
    write_label(*disk, 1, label);
    const std::string text = probe_failure(*disk);
    EXPECT_FALSE(text.empty());
    if (offset > 512) {
      EXPECT_TRUE(holds(text, std::to_string(offset)));
    }
  }
}

TEST(LvmLabel, ListsWithoutAnEndAreRefused) {
  for (const std::size_t from : {32 + 40, 32 + 40 + 32}) {
    const StampedDiskPtr disk = make_disk(small_volume());
    Buffer label = read_bytes(*disk, 512, 512);
    for (std::size_t at = from; at < 512; ++at) label[at] = std::byte{0x11};
    write_label(*disk, 1, label);
    EXPECT_TRUE(holds(probe_failure(*disk), "pv_header is cut off"));
  }
}

TEST(LvmLabel, UuidMustBeOne) {
  VolumeSpec spec = small_volume();
  spec.uuid = std::string(31, 'a') + '\x07';
  const std::string text = probe_failure(*make_disk(spec));
  EXPECT_TRUE(holds(text, "no valid UUID"));
  EXPECT_TRUE(holds(text, "a\\x07")) << "raw control characters";
}

TEST(LvmLabel, OldLabelsHaveNoExtension) {
  VolumeSpec spec = small_volume();
  spec.extension_version = 0;
  spec.extension_flags = 0;
  expect_readable(open_lvm({make_disk(spec)}));
  // A label so full that there is no room for it.
  spec.header_offset = 512 - (40 + 32 + 32);
  Buffer label = read_bytes(*make_disk(small_volume()), 512, 512);
  Buffer full(512);
  std::copy_n(label.begin(), 32, full.begin());
  std::copy_n(label.begin() + 32, 40 + 32 + 32, full.begin() + spec.header_offset);
  set(full, 20, spec.header_offset, 4);
  const StampedDiskPtr disk = make_disk(small_volume());
  write_label(*disk, 1, full);
  expect_readable(open_lvm({disk}));
}

TEST(LvmLabel, Lvm1IsNamed) {
  StampedDisk disk(0, 1U << 20U);
  Buffer sector(512);
  const std::string uuid = pv_uuid(9), name = "old\x01vg";
  set(sector, 0, 0x4d48, 2);
  set(sector, 2, 2, 2);
  for (std::size_t i = 0; i < uuid.size(); ++i) sector[44 + i] = static_cast<std::byte>(uuid[i]);
  for (std::size_t i = 0; i < name.size(); ++i) sector[172 + i] = static_cast<std::byte>(name[i]);
  disk.write(0, sector);
  const std::optional<Claim> claim = probe_lvm(disk);
  ASSERT_TRUE(claim);
  EXPECT_EQ(claim->format, "LVM1_member");
  EXPECT_EQ(claim->uuid, hyphenated(uuid));
  const OpenGroup group = open_lvm({std::make_shared<StampedDisk>(disk.size() == 0 ? 1 : 0, 512),
                                    std::shared_ptr<const BlockDevice>(&disk, [](const auto*) {})});
  EXPECT_EQ(group.state(), "unsupported");
  EXPECT_TRUE(holds(group.reason(), "old\\x01vg"));
  // Two letters alone are no magic.
  set(sector, 44, 0, 1);
  disk.write(0, sector);
  EXPECT_EQ(probe_lvm(disk), std::nullopt);
}

TEST(LvmArea, TextWraps) {
  const std::string text = small_group().text();
  const std::uint64_t size = 8192;
  ASSERT_LT(text.size() + 1, size - 512);
  for (const std::uint64_t offset :
       {std::uint64_t{512}, size - text.size() - 1, size - text.size(), size - 200, size - 1}) {
    VolumeSpec spec = small_volume();
    spec.areas[0].size = size;
    spec.areas[0].text_offset = offset;
    const StampedDiskPtr disk = make_disk(spec);
    SCOPED_TRACE(offset);
    expect_readable(open_lvm({disk}));
    // A byte behind the wrap is under the checksum, too.
    if (offset == size - 200) {
      disk->flip(4096 + 512 + 5);
      EXPECT_TRUE(holds(open_lvm({disk}).reason(), "checksum of the metadata text is wrong"));
    }
  }
}

// lvm2's own tool reads what the maker makes: then a fault in it cannot hide one in the reader.
TEST(LvmArea, PvckAgreesWithTheMaker) {
  if (!have_program("pvck")) GTEST_SKIP() << "pvck (package lvm2) is not here";
  const TemporaryDirectory folder;
  const std::string text = small_group().text();
  int number = 0;
  for (const bool wrapped : {false, true}) {
    for (const unsigned sector : {1U, 2U}) {
      VolumeSpec spec = small_volume();
      spec.label_sector = sector;
      spec.areas.push_back(spec.areas[0]);
      spec.areas[0].size = spec.areas[1].size = 1U << 16U;
      spec.areas[1].start = 200U << 10U;
      if (wrapped) spec.areas[0].text_offset = spec.areas[1].text_offset = (1U << 16U) - 700;
      auto disk = std::make_shared<StampedDisk>(0, 2U << 20U);
      write_volume(*disk, spec);
      const std::string file = folder / ("pv" + std::to_string(number++));
      write_file(file, read_bytes(*disk, 0, disk->size()));
      const std::string pvck =
          "LVM_SUPPRESS_FD_WARNINGS=1 PATH=$PATH:/usr/sbin pvck --labelsector " +
          std::to_string(sector) + " --dump ";
      const std::string headers = must_run(pvck + "headers " + file);
      EXPECT_TRUE(holds(headers, "pv_header.pv_uuid " + pv_uuid(0)));
      EXPECT_TRUE(holds(headers, "mda_header_2 at 204800"));
      EXPECT_TRUE(holds(headers, "vgname vgs seqno 7"));
      EXPECT_EQ(headers.find("CHECK"), std::string::npos) << headers;
      for (const char* area : {"1", "2"}) {
        const std::string out = folder / "text";
        must_run(pvck + "metadata --settings mda_num=" + area + " --file " + out + " " + file);
        const Buffer dumped = read_file(out);
        EXPECT_EQ(std::string(as_text(dumped)).substr(0, text.size()), text);
      }
      const std::optional<Claim> claim = probe_lvm(*disk);
      ASSERT_TRUE(claim);
      EXPECT_EQ(claim->uuid, hyphenated(pv_uuid(0)));
    }
  }
}

TEST(LvmArea, TheSecondCopyCountsWhenTheFirstIsDamaged) {
  for (const std::uint64_t damage : {4096 + 1, 4096 + 10, 4096 + 400, 4096 + 512 + 100}) {
    VolumeSpec spec = small_volume();
    spec.areas.push_back(spec.areas[0]);
    spec.areas[0].size = 1U << 16U;
    spec.areas[1].start = 1U << 19U;
    spec.areas[1].size = 1U << 16U;
    const StampedDiskPtr disk = make_disk(spec);
    disk->flip(damage);
    const OpenGroup group = open_lvm({disk});
    expect_readable(group);
    EXPECT_EQ(group.state(), "note");
    EXPECT_TRUE(holds(group.reason(), "metadata area at 4096: "));
    EXPECT_TRUE(holds(group.reason(), "another copy is used"));
  }
}

TEST(LvmArea, TheNewerCopyCounts) {
  GroupSpec newer = small_group();
  newer.seqno = 8;
  newer.volumes += linear_volume("two", "pv0", 50, 5);
  for (const bool newer_first : {false, true}) {
    VolumeSpec spec = small_volume();
    spec.areas.push_back(spec.areas[0]);
    spec.areas[0].size = 1U << 16U;
    spec.areas[1].start = 1U << 19U;
    spec.areas[newer_first ? 0 : 1].text = newer.text();
    const OpenGroup group = open_lvm({make_disk(spec)});
    expect_readable(group);
    group.at("vgs-two");
  }
}

TEST(LvmArea, EachFieldOfTheHeaderIsChecked) {
  EXPECT_TRUE(holds(damaged_area([](StampedDisk& disk) { disk.flip(4096 + 100); }),
                    "checksum of the metadata area header is wrong (found 0x"));
  EXPECT_TRUE(holds(damaged_area(change_field(4, 0, 1)), "the magic \" LVM2 x[5A%r0N*>\""));
  EXPECT_TRUE(holds(damaged_area(change_field(20, 2, 4)), "unknown version (found 2, expected 1)"));
  EXPECT_TRUE(holds(damaged_area(change_field(24, 8192, 8)), "found start 8192, expected 4096"));
  EXPECT_TRUE(holds(damaged_area(change_field(32, 512, 8)), "found 512 bytes, expected more than"));
  EXPECT_TRUE(holds(damaged_area(change_field(32, 0, 8)), "metadata area is too small"));
}

TEST(LvmArea, TheTextsPlaceIsChecked) {
  const std::string outside = "metadata text lies outside of its area";
  EXPECT_TRUE(holds(damaged_area(change_field(40, 511, 8)), outside));
  EXPECT_TRUE(holds(damaged_area(change_field(40, 1044480, 8)), outside));
  EXPECT_TRUE(holds(damaged_area(change_field(40, ~0ULL, 8)), outside));
  EXPECT_TRUE(holds(damaged_area(change_field(48, 0, 8)), outside));
  EXPECT_TRUE(holds(damaged_area(change_field(48, 1044480 - 511, 8)), outside));
  EXPECT_TRUE(holds(damaged_area(change_field(48, ~0ULL, 8)), outside));
  EXPECT_TRUE(holds(damaged_area(change_field(56, 0x12345678, 4)), "expected 0x12345678"));
  // An area that claims to be larger than the disk, with a text beyond its end.
  EXPECT_TRUE(holds(damaged_area([](StampedDisk& disk) {
                      Buffer header = area_header(disk);
                      set(header, 32, 1ULL << 40U, 8);
                      set(header, 40, 1ULL << 39U, 8);
                      write_area_header(disk, 4096, header);
                    }),
                    "metadata text lies outside of the device"));
  EXPECT_TRUE(holds(damaged_area([](StampedDisk& disk) {
                      Buffer header = area_header(disk);
                      set(header, 32, 1ULL << 40U, 8);
                      set(header, 48, 1ULL << 36U, 8);
                      write_area_header(disk, 4096, header);
                    }),
                    "larger than a volume group can need"));
}

TEST(LvmArea, AnAreaBeyondTheDiskIsDamaged) {
  VolumeSpec spec = small_volume();
  spec.areas.push_back({});
  spec.areas[1].start = 1ULL << 40U;
  auto disk = std::make_shared<StampedDisk>(0, 1ULL << 42U);
  write_volume(*disk, spec);
  auto cut = std::make_shared<StampedDisk>(0, small_group().device_bytes());
  cut->write(0, read_bytes(*disk, 0, 1U << 20U));
  const OpenGroup group = open_lvm({cut});
  expect_readable(group);
  EXPECT_TRUE(holds(group.reason(),
                    "metadata area lies outside of the device (found offset 1099511627776"));
}

TEST(LvmArea, IgnoredAndMissingAreasTellNoGroup) {
  VolumeSpec spec = small_volume();
  spec.areas[0].flags = 1;
  const StampedDiskPtr ignored = make_disk(spec);
  EXPECT_EQ(probe_lvm(*ignored)->membership->group, "");
  EXPECT_EQ(open_lvm({ignored}).state(), "missing");
  EXPECT_TRUE(holds(open_lvm({ignored}).reason(), "holds no metadata"));
  spec.areas.clear();
  EXPECT_EQ(probe_lvm(*make_disk(spec))->membership->group, "");
  EXPECT_EQ(open_lvm({make_disk(spec)}).state(), "missing");
  spec.extension_flags = 0;
  EXPECT_EQ(open_lvm({make_disk(spec)}).state(), "note");
}

TEST(LvmArea, AVolumeInNoGroupIsSaidToBe) {
  VolumeSpec spec = small_volume();
  spec.areas[0].text = "";
  spec.extension_flags = 0;
  const OpenGroup group = open_lvm({make_disk(spec)});
  EXPECT_EQ(group.state(), "note");
  EXPECT_TRUE(holds(group.reason(), "is in no volume group"));
  EXPECT_TRUE(group.opened.devices.empty());
}

TEST(LvmScan, CountsTheMembersThatTheTextNames) {
  const auto count = [](const std::string& rest) {
    return lvm::summarize_metadata("vg{id=\"" + pv_uuid(1) + "\"\nseqno=1\n" + rest).members;
  };
  EXPECT_EQ(count("}"), 0U);
  EXPECT_EQ(count("physical_volumes{pv0{id=\"a\" tags=[\"x\",\"y\"]}pv1{}}}"), 2U);
  EXPECT_EQ(count("other{a{}}physical_volumes{pv0{deeper{more{}}}}logical_volumes{lv{}}}"), 1U);
  EXPECT_EQ(count("physical_volumes{pv0{}pv1{"), 0U)
      << "a text that ends in the middle says nothing";
  EXPECT_EQ(count("physical_volumes{pv0{}b=\"}"), 0U);
  EXPECT_EQ(
      lvm::summarize_metadata("vg{id=\"" + pv_uuid(1) + "\"\nseqno=1\nseqno=7 physical_volumes{}}")
          .seqno,
      1U);
  EXPECT_EQ(count("}other{physical_volumes{pv0{}}}"), 0U) << "it is not of the group";
}

TEST(LvmScan, RefusesWhatTheParserMustNotSee) {
  const auto refusal = [](const std::string& text) -> std::string {
    try {
      lvm::check_metadata(text);
      lvm::summarize_metadata(text);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  const std::string id = "vg{id=\"" + pv_uuid(1) + "\"\nseqno=1\n";
  EXPECT_EQ(refusal(id + "}"), "accepted");
  EXPECT_EQ(refusal(id + "a=[1,2,-3]b=1.5 c='x{'d=\"}\\\"{\"}"), "accepted");
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "a{";
  EXPECT_TRUE(holds(refusal(id + deep), "nested deeper than 32"));
  EXPECT_TRUE(holds(refusal(id), "ends inside of a section"));
  EXPECT_TRUE(holds(refusal(id + "}}"), "outside of any section"));
  EXPECT_TRUE(holds(refusal(id + "a=\"b}"), "a string without an end"));
  EXPECT_TRUE(holds(refusal(id + "a=b\"{\"}"), "followed by"));
  EXPECT_TRUE(holds(refusal(id + "1,a{}"), "followed by ,"));
  EXPECT_TRUE(holds(refusal(""), "no volume group"));
  EXPECT_TRUE(holds(refusal("a=1"), "no volume group"));
  EXPECT_TRUE(holds(refusal("vg{seqno=1}"), "no valid id"));
  EXPECT_TRUE(holds(refusal("vg{id=\"x\"}"), "no valid id"));
  EXPECT_TRUE(holds(refusal("vg{id=\"" + pv_uuid(1) + "\"}"), "no seqno"));
  EXPECT_TRUE(holds(refusal("vg{id=\"" + pv_uuid(1) + "\" seqno=1x}"), "seqno 1x"));
  EXPECT_TRUE(holds(refusal(id + "\n\na=\"b}"), "in line 5"));
  std::string many;
  for (int i = 0; i < 1'100'000; ++i) many += "1,";
  EXPECT_TRUE(holds(refusal(id + "a=[" + many + "1]}"), "more than 2000000 words"));
}

}  // namespace peelfs::test
