// GUID partition tables made by sfdisk, sgdisk, fdisk and parted, against what libblkid reads from
// them.
#include <gtest/gtest.h>

#include <algorithm>

#include "partition/gpt_disk.h"
#include "peelfs/io.h"
#include "unit/partition/table_support.h"

namespace peelfs::test {
namespace {

#define NEEDS(program) \
  if (!have_program(program)) GTEST_SKIP() << program " is not installed"

void expect_as_partx(const std::string& path, const std::string& options = "") {
  const Peeled peeled = peel(file_device(path));
  EXPECT_EQ(peeled.row, "gpt");
  EXPECT_EQ(peeled.list(), partx(path, options));
  EXPECT_EQ(peeled.reason(), "");
}

TEST(Gpt, BySfdisk) {
  NEEDS("sfdisk");
  NEEDS("partx");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  make_sfdisk(path, "256M",
              "label: gpt\nlabel-id: 11111111-2222-3333-4444-55555555AAAA\n"
              "start=2048,size=8MiB,type=U,name=\"EFI System\"\n"
              "size=1MiB,name=\"gr\xc3\xb6\xc3\x9f \xe2\x82\xac\"\n"
              "size=512,uuid=AAAAAAAA-0000-4000-8000-000000000001\n size=100MiB,type=L\n");
  expect_as_partx(path);
  const Peeled peeled = peel(file_device(path));
  EXPECT_EQ(peeled.claim.format, "gpt");
  EXPECT_EQ(peeled.claim.uuid, "11111111-2222-3333-4444-55555555aaaa");
  EXPECT_EQ(peeled.at(2).partlabel, "gr\xc3\xb6\xc3\x9f \xe2\x82\xac");
  EXPECT_EQ(peeled.at(3).partuuid, "aaaaaaaa-0000-4000-8000-000000000001");
  EXPECT_EQ(peeled.at(1).parttype, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
  EXPECT_TRUE(peeled.at(1).peel);
  EXPECT_FALSE(peeled.at(1).trouble);
  EXPECT_EQ(peeled.at(1).device->describe(), "partition 1 of disk");
}

TEST(Gpt, GapsKeepTheirNumbers) {
  NEEDS("sgdisk");
  NEEDS("partx");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  must_run("truncate -s 64M '" + path + "' && sgdisk -n 128:2048:4095 -n 7:4096:+4M -n 2:0:0 '" +
           path + "'");
  expect_as_partx(path);
  EXPECT_TRUE(peel(file_device(path)).has(128));
}

TEST(Gpt, ManyEntries) {
  NEEDS("sgdisk");
  NEEDS("partx");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  std::string command = "truncate -s 64M '" + path + "' && sgdisk -a 1 -S 512";
  for (int i = 1; i <= 500; i += 3) {
    command += " -n " + std::to_string(i) + ":" + std::to_string(1000 + i * 10) + ":+7";
  }
  must_run(command + " '" + path + "'");
  expect_as_partx(path);
  EXPECT_EQ(peel(file_device(path)).list().size(), 167U);
}

TEST(Gpt, ByParted) {
  NEEDS("parted");
  NEEDS("partx");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  must_run("truncate -s 100M '" + path + "' && parted -s '" + path +
           "' mklabel gpt mkpart one 1MiB 10MiB mkpart two ext4 10MiB 99MiB");
  expect_as_partx(path);
}

TEST(Gpt, BeyondTwoTiB) {
  NEEDS("sgdisk");
  NEEDS("partx");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  must_run("truncate -s 8T '" + path + "' && sgdisk -n 1:0:+2047G -n 2:0:+2T -n 3:0:0 '" + path +
           "'");
  expect_as_partx(path);
  // A byte at the very end of the last partition is that byte of the file.
  const Peeled peeled = peel(file_device(path));
  const Listed last = peeled.list().back();
  must_run("printf Z | dd of='" + path + "' conv=notrunc oflag=seek_bytes status=none seek=" +
           std::to_string(last.start + last.size - 1));
  EXPECT_EQ(as_text(read_bytes(*peel(file_device(path)).at(3).device, last.size - 1, 1)), "Z");
}

class BlockSizes : public testing::TestWithParam<unsigned> {};

TEST_P(BlockSizes, AreSeenFromThePlaceOfTheHeader) {
  NEEDS("fdisk");
  NEEDS("partx");
  const unsigned block = GetParam();
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  make_fdisk(path, "200M", block, "g\nn\n1\n\n+8M\nn\n5\n\n+100M\nn\n2\n\n\nw\n");
  const std::string option = "-S " + std::to_string(block);
  expect_as_partx(path, option);
  const Peeled peeled = peel(file_device(path));
  EXPECT_EQ(peeled.list().size(), 3U);
  EXPECT_EQ(peeled.at(5).device->sector_size(), block);
  EXPECT_EQ(sha256(*peeled.at(1).device),
            sha256(read_bytes(*file_device(path), peeled.list()[0].start, 8U << 20U)));

  // And with the primary gone.
  must_run("dd if=/dev/zero of='" + path + "' bs=4096 count=4 conv=notrunc status=none");
  const Peeled backup = peel(file_device(path));
  EXPECT_EQ(backup.list(), peeled.list());
  EXPECT_NE(backup.reason().find("backup"), std::string::npos) << backup.reason();
}

INSTANTIATE_TEST_SUITE_P(Gpt, BlockSizes, testing::Values(512, 1024, 2048, 4096));

TEST(Gpt, DeviceThatKnowsItsBlockSize) {
  NEEDS("fdisk");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  make_fdisk(path, "32M", 4096, "g\nn\n1\n\n+8M\nw\n");
  const auto device = std::make_shared<MemoryDevice>(read_file(path), 4096);
  const Peeled peeled = peel(device);
  ASSERT_EQ(peeled.list().size(), 1U);
  EXPECT_EQ(peeled.list()[0].size, 8U << 20U);
  EXPECT_EQ(peeled.at(1).device->sector_size(), 4096U);
}

// The disk was 512, then partitioned anew with 4096: leftovers of the old table must not win.
TEST(Gpt, LeftoversOfAnotherBlockSize) {
  NEEDS("fdisk");
  NEEDS("sfdisk");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  make_sfdisk(path, "64M", "label: gpt\nsize=4MiB\nsize=4MiB\nsize=4MiB\n");
  Buffer old = read_file(path);
  make_fdisk(path, "64M", 4096, "g\nn\n1\n\n+8M\nw\n");
  Buffer disk = read_file(path);
  std::copy_n(old.begin() + 512, 512, disk.begin() + 512);  // the stale header survives
  const Peeled peeled = peel(std::make_shared<MemoryDevice>(std::move(disk)));
  ASSERT_EQ(peeled.list().size(), 1U);
  EXPECT_EQ(peeled.list()[0].size, 8U << 20U);
}

TEST(Gpt, Hybrid) {
  NEEDS("sgdisk");
  NEEDS("partx");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  must_run("truncate -s 64M '" + path + "' && sgdisk -n 1:0:+8M -n 2:0:+8M -n 3:0:+8M -h 2:3 '" +
           path + "'");
  expect_as_partx(path);
  EXPECT_EQ(peel(file_device(path)).list().size(), 3U);
}

TEST(Gpt, EmptyTableIsSaidToBeEmpty) {
  NEEDS("sfdisk");
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  make_sfdisk(path, "16M", "label: gpt\n");
  const Peeled peeled = peel(file_device(path));
  EXPECT_EQ(peeled.row, "gpt");
  EXPECT_EQ(peeled.state(), "note");
  EXPECT_EQ(peeled.reason(), "the partition table is empty");
}

TEST(Gpt, Names) {
  const auto name = [](std::vector<unsigned> units) {
    Buffer bytes(72);
    for (std::size_t i = 0; i < units.size(); ++i) put_le(bytes, i * 2, units[i], 2);
    return gpt_name(bytes);
  };
  EXPECT_EQ(name({}), "");
  EXPECT_EQ(name({'a', 0, 'b'}), "a");
  EXPECT_EQ(name({'a', ' ', ' '}), "a");
  EXPECT_EQ(name({0xE4, 0x20AC}), "\xc3\xa4\xe2\x82\xac");
  EXPECT_EQ(name({0xD83D, 0xDC27}), "\xf0\x9f\x90\xa7");
  EXPECT_EQ(name({0xDBFF, 0xDFFF}), "\xf4\x8f\xbf\xbf");
  EXPECT_EQ(name({0xD83D, 'x'}), "\xef\xbf\xbdx");  // high half alone
  EXPECT_EQ(name({0xDC27, 'x'}), "\xef\xbf\xbdx");  // low half alone
  EXPECT_EQ(name(std::vector<unsigned>(36, 'n')), std::string(36, 'n'));
  std::vector<unsigned> cut(36, 'n');
  cut.back() = 0xD83D;  // its other half would lie behind the field
  EXPECT_EQ(name(cut), std::string(35, 'n') + "\xef\xbf\xbd");
}

}  // namespace
}  // namespace peelfs::test
