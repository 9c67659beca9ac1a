// Master boot records made by sfdisk, fdisk and parted, against what libblkid reads from them; and
// what is not one.
#include <gtest/gtest.h>

#include <algorithm>

#include "peelfs/io.h"
#include "unit/partition/table_support.h"

namespace peelfs::test {
namespace {

#define NEEDS(program) \
  if (!have_program(program)) GTEST_SKIP() << program " is not installed"

/// libblkid gives an extended partition its whole size; the kernel, and we, two sectors.
void expect_as_partx(const Peeled& peeled, const std::string& path, std::uint64_t extended_size,
                     const std::string& options = "") {
  EXPECT_EQ(peeled.row, "mbr");
  std::vector<Listed> expected = partx(path, options);
  for (Listed& listed : expected) {
    if (listed.type == "0x5" || listed.type == "0xf" || listed.type == "0x85") {
      listed.size = std::min(listed.size, extended_size);
    }
  }
  EXPECT_EQ(peeled.list(), expected);
  EXPECT_EQ(peeled.reason(), "");
}

TEST(Mbr, PrimariesBySfdisk) {
  NEEDS("sfdisk");
  NEEDS("partx");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  make_sfdisk(path, "1G",
              "label: dos\nlabel-id: 0x00c0ffee\n1: start=63,size=8MiB,type=c,bootable\n"
              "2: size=1,type=83\n4: size=500MiB,type=8e\n");
  const Peeled peeled = peel(file_device(path));
  expect_as_partx(peeled, path, 1024);
  EXPECT_EQ(peeled.claim.format, "dos");
  EXPECT_EQ(peeled.claim.uuid, "00c0ffee");
  EXPECT_EQ(peeled.at(4).partuuid, "00c0ffee-04");
  EXPECT_EQ(peeled.at(1).parttype, "0xc");
  EXPECT_FALSE(peeled.has(3));
  EXPECT_EQ(peeled.at(2).device->size(), 512U);
}

class Chains : public testing::TestWithParam<int> {};

TEST_P(Chains, OfLogicals) {
  NEEDS("sfdisk");
  NEEDS("partx");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  std::string script =
      "label: dos\n1: size=2MiB\n3: type=" + std::string(GetParam() % 2 ? "f" : "5") + "\n";
  for (int i = 0; i < GetParam(); ++i) {
    script += std::to_string(5 + i) + ": size=" + std::to_string(1 + i % 3) + "MiB,type=8" +
              std::to_string(2 + i % 2) + "\n";
  }
  make_sfdisk(path, "2G", script);
  const Peeled peeled = peel(file_device(path));
  expect_as_partx(peeled, path, 1024);
  EXPECT_EQ(peeled.list().size(), 2U + static_cast<unsigned>(GetParam()));
  EXPECT_FALSE(peeled.at(3).peel);
  EXPECT_TRUE(peeled.at(5).peel);
}

INSTANTIATE_TEST_SUITE_P(Mbr, Chains, testing::Values(1, 2, 20, 56));

TEST(Mbr, LogicalsInAnotherOrderThanTheDisk) {
  NEEDS("sfdisk");
  NEEDS("partx");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  make_sfdisk(path, "200M",
              "label: dos\n1: start=2048,size=180MiB,type=85\n5: start=100000,size=4MiB\n"
              "6: start=20000,size=4MiB\n7: start=200000,size=4MiB\n");
  expect_as_partx(peel(file_device(path)), path, 1024);
}

TEST(Mbr, ByParted) {
  NEEDS("parted");
  NEEDS("partx");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  must_run("truncate -s 100M '" + path + "' && parted -s '" + path +
           "' mklabel msdos mkpart primary fat32 1MiB 10MiB mkpart extended 10MiB 90MiB "
           "mkpart logical ext4 11MiB 20MiB mkpart logical 21MiB 90MiB mkpart primary 91MiB 99MiB");
  expect_as_partx(peel(file_device(path)), path, 1024);
}

TEST(Mbr, FromLastBlockBelowTwoTiB) {
  NEEDS("partx");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  Buffer head(512);
  put_mbr(head, 0, {{0x83, 2048, 4294965247U}, {0x83, 4294967295U, 4294967295U}, {}, {}}, 0xF00D);
  write_file(path, head);
  must_run("truncate -s 8T '" + path + "'");
  const Peeled peeled = peel(file_device(path));
  EXPECT_EQ(peeled.list(), partx(path));
  EXPECT_EQ(peeled.at(2).device->size(), 4294967295ULL * 512);
  must_run("printf Z | dd of='" + path + "' conv=notrunc oflag=seek_bytes status=none seek=" +
           std::to_string((4294967295ULL + 4294967295ULL) * 512 - 1));
  EXPECT_EQ(as_text(read_bytes(*peel(file_device(path)).at(2).device, 4294967295ULL * 512 - 1, 1)),
            "Z");
}

// libblkid's sums are 32 bits wide here; Linux's and ours are not.
TEST(Mbr, LogicalBeyondTwoTiB) {
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  must_run("truncate -s 4T '" + path + "'");
  Buffer head(512);
  put_mbr(head, 0, {{0x0F, 4294000000U, 4000000000U}, {}, {}, {}}, 1);
  Buffer first(512);
  put_mbr(first, 0, {{0x83, 2048, 3000000000U}, {0x05, 3000002048U, 900000000U}, {}, {}});
  Buffer second(512);
  put_mbr(second, 0, {{0x83, 63, 800000000U}, {}, {}, {}});
  const auto put = [&](std::uint64_t sector, const Buffer& bytes) {
    write_file(directory / "sector", bytes);
    must_run("dd if='" + directory / "sector" + "' of='" + path +
             "' conv=notrunc bs=512 status=none seek=" + std::to_string(sector));
  };
  put(0, head);
  put(4294000000ULL, first);
  put(4294000000ULL + 3000002048ULL, second);
  const Peeled peeled = peel(file_device(path));
  EXPECT_EQ(peeled.reason(), "");
  ASSERT_EQ(peeled.list().size(), 3U);
  EXPECT_EQ(peeled.list()[1].start, (4294000000ULL + 2048) * 512);
  EXPECT_EQ(peeled.list()[2].start, (4294000000ULL + 3000002048ULL + 63) * 512);
  EXPECT_EQ(peeled.list()[2].size, 800000000ULL * 512);
}

TEST(Mbr, Of4096ByteBlocks) {
  NEEDS("fdisk");
  NEEDS("partx");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  make_fdisk(path, "400M", 4096, "o\nn\np\n1\n\n+8M\nn\ne\n2\n\n\nn\n\n+16M\nn\n\n+32M\nw\n");
  const auto device = std::make_shared<MemoryDevice>(read_file(path), 4096);
  const Peeled peeled = peel(device);
  expect_as_partx(peeled, path, 4096, "-S 4096");
  EXPECT_EQ(peeled.list().size(), 4U);
  EXPECT_EQ(peeled.at(5).device->sector_size(), 4096U);
}

TEST(Mbr, SignatureZeroHasNoUuid) {
  Buffer disk(1U << 20U);
  put_mbr(disk, 0, {{0x83, 8, 8}, {}, {}, {}}, 0);
  const Peeled peeled = peel(std::make_shared<MemoryDevice>(disk));
  EXPECT_EQ(peeled.row, "mbr");
  EXPECT_EQ(peeled.claim.uuid, "");
  EXPECT_EQ(peeled.at(1).partuuid, "");
}

TEST(Mbr, EmptyTable) {
  NEEDS("sfdisk");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  make_sfdisk(path, "16M", "label: dos\n");
  const Peeled peeled = peel(file_device(path));
  EXPECT_EQ(peeled.row, "mbr");
  EXPECT_TRUE(peeled.opened.devices.empty());
  EXPECT_EQ(peeled.reason(), "the partition table is empty");
  EXPECT_EQ(peeled.state(), "note");
  // A boot loader's sector in front of a filesystem looks the same.
  Identity btrfs;
  btrfs.type = "btrfs";
  EXPECT_EQ(peel(file_device(path), btrfs).row, "");
}

TEST(Mbr, SignatureAloneIsNothing) {
  Buffer disk(1U << 20U);
  put_mbr(disk, 0, {}, 0);
  EXPECT_EQ(peel(std::make_shared<MemoryDevice>(disk)).row, "");
}

TEST(Mbr, BootIndicators) {
  for (unsigned slot = 0; slot < 4; ++slot) {
    for (const unsigned indicator : {0x00U, 0x80U, 0x01U, 0x7FU, 0x81U, 0xFFU}) {
      Buffer disk(1U << 20U);
      put_mbr(disk, 0, {{0x83, 8, 8}, {}, {}, {}}, 7);
      put_le(disk, 446 + slot * 16, indicator, 1);
      EXPECT_EQ(peel(std::make_shared<MemoryDevice>(disk)).row,
                indicator == 0 || indicator == 0x80 ? "mbr" : "")
          << slot << " " << indicator;
    }
  }
}

TEST(Mbr, AixDisk) {
  Buffer disk(1U << 20U);
  put_mbr(disk, 0, {{0x41, 8, 8}, {}, {}, {}}, 7);
  const std::string_view ibma = "\xC9\xC2\xD4\xC1";
  std::copy_n(as_bytes(ibma).begin(), 4, disk.begin());
  EXPECT_EQ(peel(std::make_shared<MemoryDevice>(disk)).row, "mbr");  // no LVM record behind it
  const std::string_view record = "_LVM";
  std::copy_n(as_bytes(record).begin(), 4, disk.begin() + 7 * 512);
  EXPECT_EQ(peel(std::make_shared<MemoryDevice>(disk)).row, "");
  put_le(disk, 446 + 4, 0x83, 1);  // with a Linux partition the table is believed
  EXPECT_EQ(peel(std::make_shared<MemoryDevice>(disk)).row, "mbr");
}

struct Filesystem {
  const char* name;
  const char* program;
  const char* size;
  const char* command;
};

class BootSectors : public testing::TestWithParam<Filesystem> {};

// With and without libblkid's help, and with four entries that would pass for a table.
TEST_P(BootSectors, AreNotTables) {
  const Filesystem& filesystem = GetParam();
  if (!have_program(filesystem.program)) GTEST_SKIP() << filesystem.program << " is not installed";
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  must_run(std::string("truncate -s ") + filesystem.size + " '" + path + "'; F='" + path + "'; " +
           filesystem.command);
  Buffer bytes = read_file(path);
  bytes.resize(std::min<std::size_t>(bytes.size(), 1U << 20U));
  EXPECT_EQ(peel(std::make_shared<MemoryDevice>(bytes)).row, "");
  put_mbr(bytes, 0, {{0x83, 8, 8}, {0x83, 16, 8}, {}, {}}, 0x1234);
  EXPECT_EQ(peel(std::make_shared<MemoryDevice>(bytes)).row, "");
}

INSTANTIATE_TEST_SUITE_P(
    Mbr, BootSectors,
    testing::Values(Filesystem{"fat12", "mkfs.vfat", "1440K", "mkfs.vfat -F 12 $F"},
                    Filesystem{"fat12_large_clusters", "mkfs.vfat", "100M",
                               "mkfs.vfat -F 12 -s 128 $F"},
                    Filesystem{"fat16", "mkfs.vfat", "32M", "mkfs.vfat -F 16 $F"},
                    Filesystem{"fat16_4k", "mkfs.vfat", "100M", "mkfs.vfat -F 16 -S 4096 $F"},
                    Filesystem{"fat32", "mkfs.vfat", "64M", "mkfs.vfat -F 32 $F"},
                    Filesystem{"exfat", "mkfs.exfat", "64M", "mkfs.exfat $F"},
                    Filesystem{"ntfs", "mkntfs", "32M", "mkntfs -Q -F -s 512 $F"}),
    [](const auto& made) { return std::string(made.param.name); });

TEST(Mbr, OtherBootSectors) {
  for (const auto& [at, name] : std::initializer_list<std::pair<std::size_t, std::string_view>>{
           {3, "-FVE-FS-"},
           {3, std::string_view("ReFS\0", 5)},
           {0x36, "HPFS    "},
           {0x36, "JFS     "}}) {
    Buffer disk(1U << 20U);
    put_mbr(disk, 0, {{0x83, 8, 8}, {}, {}, {}}, 1);
    std::copy_n(as_bytes(name).begin(), name.size(), disk.begin() + static_cast<long>(at));
    EXPECT_EQ(peel(std::make_shared<MemoryDevice>(disk)).row, "") << name;
  }
  // What only libblkid can tell, because its superblock lies elsewhere.
  for (const char* type : {"vfat", "ntfs", "exfat", "hpfs", "BitLocker"}) {
    Buffer disk(1U << 20U);
    put_mbr(disk, 0, {{0x83, 8, 8}, {}, {}, {}}, 1);
    Identity identity;
    identity.type = type;
    EXPECT_EQ(peel(std::make_shared<MemoryDevice>(disk), identity).row, "") << type;
  }
}

// Boot code of syslinux and of GRUB begins with a jump as FAT does.
TEST(Mbr, BootCodeWithAJumpIsATable) {
  Buffer disk(1U << 20U);
  put_le(disk, 0, 0x9063EB, 3);
  put_le(disk, 0x5A, 0x1234, 2);
  put_mbr(disk, 0, {{0x83, 8, 8, 0x80}, {}, {}, {}}, 0xABCD);
  EXPECT_EQ(peel(std::make_shared<MemoryDevice>(disk)).row, "mbr");
}

TEST(Mbr, TableInFrontOfAFilesystem) {
  Buffer disk(1U << 20U);
  put_mbr(disk, 0, {{0x83, 8, 8}, {}, {}, {}}, 1);
  Identity identity;
  identity.type = "ext4";
  EXPECT_EQ(peel(std::make_shared<MemoryDevice>(disk), identity).row, "mbr");
  // Entries that all point beyond the end are boot code.
  put_mbr(disk, 0, {{0x83, 80000, 8}, {}, {}, {}}, 1);
  EXPECT_EQ(peel(std::make_shared<MemoryDevice>(disk), identity).row, "");
}

}  // namespace
}  // namespace peelfs::test
