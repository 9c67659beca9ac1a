// Each way in which an MBR and its chains can be wrong: what was found before stays, and the reason
// names what was found and what was expected.
#include <gtest/gtest.h>

#include "peelfs/devices.h"
#include "unit/partition/table_support.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::size_t kSectors = 8192;

std::shared_ptr<MemoryDevice> disk_of(Buffer bytes) {
  return std::make_shared<MemoryDevice>(std::move(bytes));
}

Buffer blank() {
  return Buffer(kSectors * kSector);
}

void expect_reason(const Peeled& peeled, const char* state,
                   std::initializer_list<const char*> parts) {
  EXPECT_EQ(peeled.state(), state);
  for (const char* part : parts) {
    EXPECT_NE(peeled.reason().find(part), std::string::npos) << part << " in: " << peeled.reason();
  }
}

TEST(MbrDamage, ChainThatLoops) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x05, 100, 4000}, {}, {}, {}}, 1);
  put_mbr(disk, 100, {{0x83, 10, 10}, {0x05, 100, 100}, {}, {}});
  put_mbr(disk, 200, {{0x83, 10, 10}, {0x05, 200, 100}, {}, {}});
  put_mbr(disk, 300, {{0x83, 10, 10}, {0x05, 100, 100}, {}, {}});  // back to 200
  const Peeled peeled = peel(disk_of(disk));
  EXPECT_EQ(peeled.list().size(), 4U);
  expect_reason(peeled, "damaged", {"loops", "found LBA 200 a second time", "expected"});
}

TEST(MbrDamage, RecordThatLinksToItself) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x05, 100, 4000}, {}, {}, {}}, 1);
  put_mbr(disk, 100, {{0x83, 10, 10}, {0x05, 100, 100}, {}, {}});
  put_mbr(disk, 200, {{0x83, 10, 10}, {0x05, 100, 100}, {}, {}});
  const Peeled peeled = peel(disk_of(disk));
  EXPECT_EQ(peeled.list().size(), 3U);
  expect_reason(peeled, "damaged", {"loops", "LBA 200"});
}

TEST(MbrDamage, LinkToTheFirstRecordIsIgnored) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x05, 100, 4000}, {}, {}, {}}, 1);
  put_mbr(disk, 100, {{0x83, 10, 10}, {0x05, 0, 100}, {0x05, 200, 100}, {}});
  put_mbr(disk, 300, {{0x83, 10, 10}, {}, {}, {}});
  const Peeled peeled = peel(disk_of(disk));
  EXPECT_EQ(peeled.list().size(), 3U);
  expect_reason(peeled, "note", {"LBA 100 links to the first one"});
}

TEST(MbrDamage, ChainWithoutEnd) {
  Buffer disk(6000 * kSector);
  put_mbr(disk, 0, {{0x05, 100, 5900}, {}, {}, {}}, 1);
  for (std::uint32_t i = 100; i < 5999; ++i) put_mbr(disk, i, {{}, {0x05, i - 99, 1}, {}, {}});
  const Peeled peeled = peel(disk_of(disk));
  EXPECT_EQ(peeled.list().size(), 1U);
  expect_reason(peeled, "damaged", {"too long", "more than 4096 records"});
}

TEST(MbrDamage, RecordWithoutSignature) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x05, 100, 4000}, {0x83, 5000, 10}, {}, {}}, 1);
  put_mbr(disk, 100, {{0x83, 10, 10}, {0x05, 100, 100}, {}, {}});
  put_mbr(disk, 200, {{0x83, 10, 10}, {}, {}, {}});
  put_le(disk, 200 * kSector + 510, 0x55AA, 2);
  const Peeled peeled = peel(disk_of(disk));
  EXPECT_EQ(peeled.list().size(), 3U);
  expect_reason(peeled, "damaged", {"LBA 200 has no signature", "found 0x55aa", "expected 0xaa55"});
}

TEST(MbrDamage, RecordBeyondTheEnd) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x05, 100, 20000}, {}, {}, {}}, 1);
  put_mbr(disk, 100, {{0x83, 10, 10}, {0x05, 9000, 100}, {}, {}});
  const Peeled peeled = peel(disk_of(disk));
  EXPECT_EQ(peeled.list().size(), 2U);
  expect_reason(peeled, "damaged",
                {"beyond the end of the disk", "found LBA 9100", "at most LBA 8191"});
}

TEST(MbrDamage, RecordThatCannotBeRead) {
  Buffer bytes = blank();
  put_mbr(bytes, 0, {{0x05, 100, 4000}, {0x83, 5000, 10}, {}, {}}, 1);
  const auto disk = disk_of(bytes);
  const DevicePtr broken = make_concat({{disk, 0, 100 * kSector},
                                        {nullptr, 0, kSector},
                                        {disk, 101 * kSector, (kSectors - 101) * kSector}},
                                       Error(Fault::io, "bad block"), "half a disk");
  const Peeled peeled = peel(broken);
  EXPECT_TRUE(peeled.has(2));
  expect_reason(peeled, "damaged", {"LBA 100 cannot be read", "bad block"});
}

TEST(MbrDamage, ExtendedPartitionOnTheMbr) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x05, 0, 4000}, {0x83, 5000, 10}, {}, {}}, 1);
  const Peeled peeled = peel(disk_of(disk));
  EXPECT_EQ(peeled.list().size(), 2U);
  expect_reason(peeled, "damaged", {"begins with the MBR itself"});
}

TEST(MbrDamage, LinkOutOfTheExtendedPartitionIsFollowedAndSaid) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x05, 100, 400}, {}, {}, {}}, 1);
  put_mbr(disk, 100, {{0x83, 10, 10}, {0x05, 1000, 100}, {}, {}});
  put_mbr(disk, 1100, {{0x83, 10, 10}, {}, {}, {}});
  const Peeled peeled = peel(disk_of(disk));
  ASSERT_EQ(peeled.list().size(), 3U);
  EXPECT_EQ(peeled.list()[2].start, 1110 * kSector);
  expect_reason(peeled, "note", {"LBA 1100 lies outside", "LBA 100 to 499"});
  ASSERT_TRUE(peeled.at(6).trouble);
  EXPECT_NE(peeled.at(6).trouble->reason.find("leaves its extended partition"), std::string::npos);
}

TEST(MbrDamage, ThirdAndFourthEntriesCountOnlyInside) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x05, 100, 400}, {}, {}, {}}, 1);
  put_mbr(disk, 100, {{0x83, 10, 10}, {}, {0x83, 30, 10}, {0x83, 390, 11}});
  const Peeled peeled = peel(disk_of(disk));
  ASSERT_EQ(peeled.list().size(), 3U);
  EXPECT_EQ(peeled.list()[2].start, 130 * kSector);
}

TEST(MbrDamage, SeveralExtendedPartitionsNumberOn) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x05, 100, 400}, {0x83, 50, 10}, {0x0F, 1000, 400}, {}}, 1);
  put_mbr(disk, 100, {{0x83, 10, 10}, {}, {}, {}});
  put_mbr(disk, 1000, {{0x83, 20, 10}, {}, {}, {}});
  const Peeled peeled = peel(disk_of(disk));
  ASSERT_EQ(peeled.list().size(), 5U);
  EXPECT_EQ(peeled.list()[3].number, 5U);
  EXPECT_EQ(peeled.list()[4].number, 6U);
  EXPECT_EQ(peeled.list()[4].start, 1020 * kSector);
}

TEST(MbrDamage, TinyExtendedPartitionIsShownAsItIs) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x05, 100, 1}, {}, {}, {}}, 1);
  put_mbr(disk, 100, {});
  EXPECT_EQ(peel(disk_of(disk)).at(1).device->size(), kSector);
}

TEST(MbrDamage, TypeZeroWithASizeIsShownAsLinuxDoes) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x83, 100, 10}, {0x00, 200, 10}, {0x83, 0, 0}, {}}, 1);
  const Peeled peeled = peel(disk_of(disk));
  ASSERT_EQ(peeled.list().size(), 2U);
  ASSERT_TRUE(peeled.at(2).trouble);
  EXPECT_EQ(peeled.at(2).trouble->state, Trouble::note);
  // Alone it makes no table.
  put_mbr(disk, 0, {{0x00, 200, 10}, {}, {}, {}}, 0);
  EXPECT_EQ(peel(disk_of(disk)).row, "");
}

TEST(MbrDamage, OverlapIsSaidAndBothAppear) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x83, 100, 100}, {0x83, 150, 100}, {}, {}}, 1);
  const Peeled peeled = peel(disk_of(disk));
  ASSERT_EQ(peeled.list().size(), 2U);
  ASSERT_TRUE(peeled.at(2).trouble);
  EXPECT_NE(peeled.at(2).trouble->reason.find("overlaps partition 1 (found LBA 150 to 249"),
            std::string::npos)
      << peeled.at(2).trouble->reason;
}

TEST(MbrDamage, PartitionThatHoldsItsOwnTableIsNotLookedInto) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x17, 0, kSectors}, {}, {}, {}}, 1);
  const Peeled peeled = peel(disk_of(disk));
  EXPECT_EQ(peeled.at(1).device->size(), kSectors * kSector);
  EXPECT_FALSE(peeled.at(1).peel);
}

TEST(MbrDamage, LogicalThatHoldsItsOwnRecordIsNotLookedInto) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x05, 100, 400}, {}, {}, {}}, 1);
  put_mbr(disk, 100, {{0x83, 0, 100}, {}, {}, {}});
  const Peeled peeled = peel(disk_of(disk));
  ASSERT_TRUE(peeled.has(5));
  EXPECT_EQ(peeled.list()[1].start, 100 * kSector);
  EXPECT_FALSE(peeled.at(5).peel);
}

TEST(MbrDamage, TruncatedImageShowsTrueSizes) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x83, 8000, 1000}, {0x83, 9000, 1000}, {}, {}}, 1);
  const Buffer content = pattern(192 * kSector, 3);
  std::copy(content.begin(), content.end(), disk.begin() + 8000 * kSector);
  const Peeled peeled = peel(disk_of(disk));
  const Inner& cut = peeled.at(1);
  EXPECT_EQ(cut.device->size(), 1000 * kSector);
  ASSERT_TRUE(cut.trouble);
  EXPECT_EQ(cut.trouble->state, Trouble::damaged);
  EXPECT_NE(cut.trouble->reason.find("only the first 98304 bytes"), std::string::npos)
      << cut.trouble->reason;
  EXPECT_EQ(read_bytes(*cut.device, 0, 192 * kSector), content);
  EXPECT_THROW(read_bytes(*cut.device, 191 * kSector, 2 * kSector), Error);
  const Inner& gone = peeled.at(2);
  EXPECT_EQ(gone.device->size(), 1000 * kSector);
  EXPECT_FALSE(gone.peel);
  try {
    read_bytes(*gone.device, 0, 1);
    FAIL() << "read beyond the end of the image";
  } catch (const Error& error) {
    EXPECT_EQ(error.error_number(), EIO);
  }
}

TEST(MbrDamage, ProtectiveWithoutGpt) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0xEE, 1, kSectors - 1}, {}, {}, {}}, 0);
  Peeled peeled = peel(disk_of(disk));
  EXPECT_EQ(peeled.row, "mbr");
  EXPECT_TRUE(peeled.opened.devices.empty());
  expect_reason(
      peeled, "damaged",
      {"neither GPT header is valid", "LBA 1 ", "LBA 8191", "expected the signature \"EFI PART\""});
  // A filesystem that was put over it counts for more.
  Identity identity;
  identity.type = "btrfs";
  EXPECT_EQ(peel(disk_of(disk), identity).row, "");
  // Hybrid entries do not change it: Linux shows nothing either.
  put_mbr(disk, 0, {{0xEE, 1, 99}, {0x83, 100, 100}, {}, {}}, 0);
  peeled = peel(disk_of(disk));
  EXPECT_TRUE(peeled.opened.devices.empty());
  EXPECT_EQ(peeled.state(), "damaged");
}

TEST(MbrDamage, MemberOfAnArray) {
  Buffer disk = blank();
  put_mbr(disk, 0, {{0x83, 100, 100}, {}, {}, {}}, 1);
  Identity identity;
  identity.type = "linux_raid_member";
  identity.usage = "raid";
  EXPECT_EQ(peel(disk_of(disk), identity).row, "");  // left to the row of its array
  EXPECT_EQ(peel(disk_of(disk)).row, "mbr");
}

TEST(MbrDamage, ContractOfThePartitions) {
  Buffer disk = blank();
  const Buffer noise = pattern(disk.size(), 5);
  std::copy(noise.begin(), noise.end(), disk.begin());
  std::fill_n(disk.begin(), 512, std::byte{0});
  put_mbr(disk, 0, {{0x83, 100, 901}, {0x83, 3, 1}, {}, {}}, 1);
  for (const unsigned sector_size : {512U, 4096U}) {
    const Peeled peeled = peel(std::make_shared<MemoryDevice>(disk, sector_size));
    for (const Inner& inner : peeled.opened.devices) check_contract(*inner.device);
  }
}

}  // namespace
}  // namespace peelfs::test
