// Each way in which a GPT can be wrong: the other copy is used, or the reason names what was found
// and what was expected.
#include <gtest/gtest.h>

#include <functional>

#include "peelfs/devices.h"
#include "unit/partition/table_support.h"

namespace peelfs::test {
namespace {

constexpr std::size_t kSector = 512;

/// An 8 MiB disk with p1 (LBA 2048 to 4095) and p4 (4096 to 8191), made by sfdisk once.
const Buffer& pristine() {
  static const Buffer disk = [] {
    const TemporaryDirectory directory;
    const std::string path = directory / "disk";
    make_sfdisk(path, "8M",
                "label: gpt\n1: start=2048,size=2048,name=one\n4: start=4096,size=4096\n");
    return read_file(path);
  }();
  return disk;
}

std::size_t backup_at() {
  return pristine().size() - kSector;
}

std::shared_ptr<MemoryDevice> disk_of(Buffer bytes) {
  return std::make_shared<MemoryDevice>(std::move(bytes));
}

std::vector<Listed> pristine_list() {
  return peel(disk_of(pristine())).list();
}

struct Damage {
  const char* name;
  std::function<void(Buffer&, std::size_t header)> apply;
  const char* found;  ///< what the reason must contain
  const char* expected;
};
std::ostream& operator<<(std::ostream& out, const Damage& damage) {
  return out << damage.name;
}

class Damaged : public testing::TestWithParam<Damage> {
 protected:
  void SetUp() override {
    if (!have_program("sfdisk")) GTEST_SKIP() << "sfdisk is not installed";
  }
};

TEST_P(Damaged, PrimaryLeavesTheBackup) {
  Buffer bytes = pristine();
  GetParam().apply(bytes, kSector);
  const Peeled peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.row, "gpt");
  EXPECT_EQ(peeled.list(), pristine_list());
  EXPECT_EQ(peeled.state(), "note");
  EXPECT_NE(peeled.reason().find("the primary GPT is damaged"), std::string::npos)
      << peeled.reason();
  EXPECT_NE(peeled.reason().find(GetParam().found), std::string::npos) << peeled.reason();
  EXPECT_NE(peeled.reason().find(GetParam().expected), std::string::npos) << peeled.reason();
}

TEST_P(Damaged, BackupLeavesThePrimary) {
  Buffer bytes = pristine();
  GetParam().apply(bytes, backup_at());
  const Peeled peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.row, "gpt");
  EXPECT_EQ(peeled.list(), pristine_list());
  EXPECT_EQ(peeled.state(), "note");
  EXPECT_NE(peeled.reason().find("the backup GPT is damaged"), std::string::npos)
      << peeled.reason();
}

TEST_P(Damaged, BothLeaveAReason) {
  Buffer bytes = pristine();
  GetParam().apply(bytes, kSector);
  GetParam().apply(bytes, backup_at());
  const Peeled peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.row, "mbr");  // the protective MBR is what is left
  EXPECT_TRUE(peeled.opened.devices.empty());
  EXPECT_EQ(peeled.state(), "damaged");
  EXPECT_NE(peeled.reason().find("neither GPT header is valid"), std::string::npos)
      << peeled.reason();
  EXPECT_NE(peeled.reason().find(GetParam().found), std::string::npos) << peeled.reason();
  EXPECT_NE(peeled.reason().find(GetParam().expected), std::string::npos) << peeled.reason();
}

Damage field(const char* name, std::size_t at, unsigned width, std::uint64_t value,
             const char* found, const char* expected) {
  return {name,
          [=](Buffer& disk, std::size_t header) {
            put_le(disk, header + at, value, width);
            fix_gpt(disk, header, 512, false);
          },
          found, expected};
}

INSTANTIATE_TEST_SUITE_P(
    Gpt, Damaged,
    testing::Values(
        Damage{"signature", [](Buffer& d, std::size_t h) { d[h] = std::byte{'e'}; }, "eFI PART",
               "EFI PART"},
        Damage{"zeroed",
               [](Buffer& d, std::size_t h) {
                 std::fill_n(d.begin() + static_cast<long>(h), 512, std::byte{0});
               },
               "\\x00", "EFI PART"},
        Damage{"header_checksum", [](Buffer& d, std::size_t h) { put_le(d, h + 16, 0x1234, 4); },
               "computed over its 92 bytes", "0x1234 as HeaderCRC32 says"},
        Damage{"header_size_small", [](Buffer& d, std::size_t h) { put_le(d, h + 12, 91, 4); },
               "found 91", "92 to 512"},
        Damage{"header_size_large",
               [](Buffer& d, std::size_t h) { put_le(d, h + 12, 0xFFFFFFFF, 4); }, "4294967295",
               "92 to 512"},
        field("my_lba", 24, 8, 77, "MyLBA 77", "expected 1"),
        field("usable_swapped", 40, 8, 1ULL << 40U, "FirstUsableLBA 1099511627776",
              "at most LastUsableLBA"),
        field("entry_size_zero", 84, 4, 0, "found 0", "128 times a power of two"),
        field("entry_size_odd", 84, 4, 136, "found 136", "128 times a power of two"),
        field("entries_zero", 80, 4, 0, "found 0 of 128 bytes", "1 to 32768"),
        field("entries_absurd", 80, 4, 0xFFFFFFFF, "4294967295 of 128 bytes", "1 to 32768"),
        field("array_beyond", 72, 8, 1ULL << 60U, "PartitionEntryLBA (an absurd number)",
              "the disk's last, 16383"),
        field("array_ends_beyond", 72, 8, 16380, "PartitionEntryLBA 16380",
              "the disk's last, 16383"),
        field("array_over_header", 72, 8, 1, "PartitionEntryLBA 1 ", "between LBA 2"),
        field("array_checksum", 88, 4, 0xABCD, "computed over 16384 bytes",
              "0xabcd as PartitionEntryArrayCRC32 says"),
        Damage{"entry_flipped",
               [](Buffer& d, std::size_t h) {
                 const std::size_t array = get_le(d, h + 72, 8) * kSector;
                 d[array + 40] ^= std::byte{1};
               },
               "computed over 16384 bytes", "as PartitionEntryArrayCRC32 says"}),
    [](const auto& damage) { return std::string(damage.param.name); });

class GptDamage : public testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("sfdisk")) GTEST_SKIP() << "sfdisk is not installed";
  }
  /// Changes the entry array of both copies alike, with right checksums.
  static Buffer with_entries(const std::function<void(Buffer&, std::size_t array)>& change) {
    Buffer bytes = pristine();
    for (const std::size_t header : {kSector, backup_at()}) {
      change(bytes, get_le(bytes, header + 72, 8) * kSector);
      fix_gpt(bytes, header);
    }
    return bytes;
  }
};

TEST_F(GptDamage, PristineHasNoTrouble) {
  const Peeled peeled = peel(disk_of(pristine()));
  EXPECT_EQ(peeled.reason(), "");
  ASSERT_EQ(peeled.list().size(), 2U);
  EXPECT_EQ(peeled.list()[1].number, 4U);
  EXPECT_EQ(peeled.list()[1].start, 4096 * kSector);
}

TEST_F(GptDamage, OverlapIsSaidAndBothAppear) {
  const Peeled peeled = peel(disk_of(with_entries(
      [](Buffer& d, std::size_t array) { put_le(d, array + 3 * 128 + 32, 4000, 8); })));
  ASSERT_EQ(peeled.list().size(), 2U);
  EXPECT_FALSE(peeled.at(1).trouble);
  ASSERT_TRUE(peeled.at(4).trouble);
  EXPECT_EQ(peeled.at(4).trouble->state, Trouble::damaged);
  EXPECT_NE(peeled.at(4).trouble->reason.find("overlaps partition 1"), std::string::npos)
      << peeled.at(4).trouble->reason;
  EXPECT_EQ(peeled.at(4).device->size(), (8191 - 4000 + 1) * kSector);
}

TEST_F(GptDamage, EntryOutsideOfTheUsableBlocks) {
  const Peeled peeled = peel(disk_of(with_entries([](Buffer& d, std::size_t array) {
    put_le(d, array + 32, 5, 8);
    put_le(d, array + 40, 40, 8);
  })));
  ASSERT_TRUE(peeled.at(1).trouble);
  EXPECT_NE(peeled.at(1).trouble->reason.find("LBA 5 to 40"), std::string::npos)
      << peeled.at(1).trouble->reason;
  EXPECT_FALSE(peeled.at(4).trouble);
}

TEST_F(GptDamage, EntryThatBeginsWithTheDiskIsNotLookedInto) {
  const Peeled peeled = peel(
      disk_of(with_entries([](Buffer& d, std::size_t array) { put_le(d, array + 32, 0, 8); })));
  EXPECT_FALSE(peeled.at(1).peel);
  EXPECT_TRUE(peeled.at(4).peel);
}

TEST_F(GptDamage, ImpossibleEntries) {
  struct Case {
    std::uint64_t start, end;
    std::uint64_t size;
    const char* reason;
  };
  for (const Case& c : std::initializer_list<Case>{
           {5000, 4000, 0, "no possible place"},
           {0, ~0ULL, 0, "no possible place"},
           {1, ~0ULL, 0, "no possible place"},
           {~0ULL, ~0ULL, 0, "no possible place"},
           {1ULL << 55U, 1ULL << 56U, 0, "no possible place"},
           {1ULL << 40U, (1ULL << 40U) + 7, 8 * kSector, "beyond the end of the disk"}}) {
    const Peeled peeled = peel(disk_of(with_entries([&](Buffer& d, std::size_t array) {
      put_le(d, array + 32, c.start, 8);
      put_le(d, array + 40, c.end, 8);
    })));
    ASSERT_TRUE(peeled.has(1)) << c.start;
    const Inner& inner = peeled.at(1);
    EXPECT_EQ(inner.device->size(), c.size) << c.start;
    ASSERT_TRUE(inner.trouble) << c.start;
    EXPECT_EQ(inner.trouble->state, Trouble::damaged);
    EXPECT_NE(inner.trouble->reason.find(c.reason), std::string::npos) << inner.trouble->reason;
    EXPECT_FALSE(inner.peel);
    EXPECT_FALSE(peeled.at(4).trouble && peeled.at(4).trouble->state == Trouble::damaged &&
                 c.start > 8191);
  }
}

TEST_F(GptDamage, TruncatedImageShowsTrueSizes) {
  Buffer bytes = pristine();
  bytes.resize(6000 * kSector);
  const Peeled peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.row, "gpt");
  EXPECT_EQ(peeled.state(), "damaged");
  EXPECT_NE(peeled.reason().find("smaller than its GPT says"), std::string::npos)
      << peeled.reason();
  EXPECT_NE(peeled.reason().find("found a last LBA of 5999"), std::string::npos) << peeled.reason();
  EXPECT_FALSE(peeled.at(1).trouble);
  EXPECT_EQ(sha256(*peeled.at(1).device),
            sha256(Bytes(pristine()).subspan(2048 * kSector, 2048 * kSector)));
  const Inner& cut = peeled.at(4);
  EXPECT_EQ(cut.device->size(), 4096 * kSector);
  ASSERT_TRUE(cut.trouble);
  EXPECT_EQ(cut.trouble->state, Trouble::damaged);
  EXPECT_NE(cut.trouble->reason.find("truncated"), std::string::npos) << cut.trouble->reason;
  EXPECT_TRUE(cut.peel);
  // The part that is there reads; the first byte beyond is EIO, never zero.
  EXPECT_EQ(read_bytes(*cut.device, 0, (6000 - 4096) * kSector),
            Buffer(pristine().begin() + 4096 * kSector, pristine().begin() + 6000 * kSector));
  try {
    read_bytes(*cut.device, (6000 - 4096) * kSector, 1);
    FAIL() << "read beyond the end of the image";
  } catch (const Error& error) {
    EXPECT_EQ(error.error_number(), EIO);
    EXPECT_NE(std::string(error.what()).find("partition 4 of disk"), std::string::npos)
        << error.what();
  }
}

TEST_F(GptDamage, OnlyTheBackupCutOffIsANote) {
  Buffer bytes = pristine();
  bytes.resize(bytes.size() - kSector);
  const Peeled peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.list(), pristine_list());
  EXPECT_EQ(peeled.state(), "note");
}

TEST_F(GptDamage, GrownDisk) {
  Buffer bytes = pristine();
  bytes.resize(bytes.size() + 1000 * kSector + 100);
  Peeled peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.list(), pristine_list());
  EXPECT_EQ(peeled.state(), "note");
  EXPECT_NE(peeled.reason().find("has grown"), std::string::npos) << peeled.reason();

  // The primary's checksum is gone as well: its AlternateLBA still leads to the backup.
  put_le(bytes, kSector + 16, 0, 4);
  EXPECT_EQ(peel(disk_of(bytes)).list(), pristine_list());
  // And with nothing left of it: the protective MBR knows where the disk once ended.
  std::fill_n(bytes.begin() + kSector, 33 * kSector, std::byte{0});
  peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.list(), pristine_list());
  EXPECT_NE(peeled.reason().find("the backup at LBA 16383 is used"), std::string::npos)
      << peeled.reason();
}

TEST_F(GptDamage, CopiesThatDiffer) {
  Buffer bytes = pristine();
  const std::size_t array = get_le(bytes, kSector + 72, 8) * kSector;
  put_le(bytes, array + 40, 3000, 8);
  fix_gpt(bytes, kSector);
  const Peeled peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.list()[0].size, (3000 - 2048 + 1) * kSector);
  EXPECT_EQ(peeled.state(), "note");
  EXPECT_NE(peeled.reason().find("differ; the primary is used"), std::string::npos)
      << peeled.reason();
}

TEST_F(GptDamage, NoProtectiveMbr) {
  Buffer bytes = pristine();
  std::fill_n(bytes.begin(), kSector, std::byte{0});
  Peeled peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.list(), pristine_list());
  EXPECT_NE(peeled.reason().find("no protective MBR"), std::string::npos) << peeled.reason();
  // A filesystem on the same device is newer than the table.
  Identity ext4;
  ext4.type = "ext4";
  EXPECT_EQ(peel(disk_of(bytes), ext4).row, "");
}

TEST_F(GptDamage, MbrWithPartitionsMakesTheGptStale) {
  Buffer bytes = pristine();
  put_mbr(bytes, 0, {{0x83, 2048, 100}, {}, {}, {}}, 0x1234);
  const Peeled peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.row, "mbr");
  ASSERT_EQ(peeled.list().size(), 1U);
  EXPECT_EQ(peeled.list()[0].size, 100 * kSector);
  EXPECT_NE(peeled.reason().find("GPT is stale"), std::string::npos) << peeled.reason();
}

TEST_F(GptDamage, SignatureWithoutAnythingElse) {
  Buffer bytes(1U << 20U);
  const std::string_view magic = "EFI PART";
  std::copy_n(as_bytes(magic).begin(), magic.size(), bytes.begin() + 512);
  try {
    peel(disk_of(bytes));
    FAIL() << "a header without a checksum";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::damaged);
    EXPECT_NE(std::string(error.what()).find("HeaderSize"), std::string::npos) << error.what();
  }
  Identity known;
  known.type = "xfs";
  EXPECT_EQ(peel(disk_of(bytes), known).row, "");
}

TEST_F(GptDamage, PrimaryThatNamesItselfAsItsBackup) {
  Buffer bytes = pristine();
  put_le(bytes, kSector + 32, 1, 8);
  fix_gpt(bytes, kSector);
  Peeled peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.list(), pristine_list());
  put_le(bytes, backup_at(), 0, 8);
  peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.list(), pristine_list());
  EXPECT_NE(peeled.reason().find("the backup GPT is damaged"), std::string::npos)
      << peeled.reason();
}

// Boot code with the signature behind it is no table, so it does not make the GPT stale.
TEST_F(GptDamage, BootCodeInSector0) {
  Buffer bytes = pristine();
  const Buffer code = pattern(510, 9);
  std::copy(code.begin(), code.end(), bytes.begin());
  put_le(bytes, 446, 0x33, 1);
  EXPECT_EQ(peel(disk_of(bytes)).list(), pristine_list());
}

TEST_F(GptDamage, NoRoomForABackup) {
  Buffer bytes(2 * kSector);
  const std::string_view magic = "EFI PART";
  std::copy_n(as_bytes(magic).begin(), magic.size(), bytes.begin() + 512);
  try {
    peel(disk_of(bytes));
    FAIL() << "a header without a checksum";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("no room for a backup GPT header"), std::string::npos)
        << error.what();
  }
}

// One leg of a mirror has the whole table; a member of a striped array has only its beginning, and
// is left to the row of its array.
TEST_F(GptDamage, MembersOfArrays) {
  Identity member;
  member.type = "isw_raid_member";
  member.usage = "raid";
  EXPECT_EQ(peel(disk_of(pristine()), member).list(), pristine_list());
  Buffer bytes = pristine();
  bytes.resize(bytes.size() / 2);
  EXPECT_EQ(peel(disk_of(bytes), member).row, "");
}

// The array ends before its member does: that is no disk that has grown.
TEST_F(GptDamage, AMirrorLeavesRoomForItsMetadata) {
  Buffer bytes = pristine();
  bytes.resize(bytes.size() + (1U << 20U));
  EXPECT_NE(peel(disk_of(bytes)).reason().find("the disk has grown"), std::string::npos);
  Identity member;
  member.type = "isw_raid_member";
  member.usage = "raid";
  const Peeled peeled = peel(disk_of(bytes), member);
  EXPECT_EQ(peeled.list(), pristine_list());
  EXPECT_EQ(peeled.reason(), "");
}

// Linux takes a protective MBR for one only if its entry begins with the GPT header.
TEST_F(GptDamage, ProtectiveEntryThatStartsElsewhere) {
  EXPECT_EQ(peel(disk_of(pristine())).reason(), "");
  Buffer bytes = pristine();
  put_le(bytes, 446 + 8, 2, 4);
  const Peeled peeled = peel(disk_of(bytes));
  EXPECT_EQ(peeled.list(), pristine_list());
  EXPECT_EQ(peeled.state(), "note");
  EXPECT_EQ(peeled.reason(),
            "the MBR entry of type 0xEE starts at LBA 2, not at 1: Linux ignores such a GPT");
  // One that is right is enough.
  std::copy_n(pristine().begin() + 446, 16, bytes.begin() + 462);
  EXPECT_EQ(peel(disk_of(bytes)).reason(), "");
}

TEST_F(GptDamage, UnreadablePrimaryLeavesTheBackup) {
  const auto disk = disk_of(pristine());
  const DevicePtr broken =
      make_concat({{disk, 0, 512}, {nullptr, 0, 4096}, {disk, 4608, disk->size() - 4608}},
                  Error(Fault::io, "bad block"), "half a disk");
  const Peeled peeled = peel(broken);
  EXPECT_EQ(peeled.list(), pristine_list());
  EXPECT_NE(peeled.reason().find("bad block"), std::string::npos) << peeled.reason();
}

TEST(GptNone, TinyAndEmptyDevices) {
  for (const std::size_t size : {0U, 1U, 511U, 512U, 513U, 1024U, 4096U, 70000U}) {
    EXPECT_EQ(peel(disk_of(Buffer(size))).row, "") << size;
    EXPECT_EQ(peel(disk_of(Buffer(size, std::byte{0xFF}))).row, "") << size;
  }
}

}  // namespace
}  // namespace peelfs::test
