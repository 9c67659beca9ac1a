// Which sources are written as one.
#include "overlay/common.h"
#include "peelfs/formats.h"

#include <array>
#include <filesystem>

#include "overlay_support.h"
#include "scan/scanner.h"
#include "support/array_member.h"
#include "support/paths.h"

namespace peelfs::overlay {
namespace {

using Groups = std::vector<std::vector<std::size_t>>;

class Common : public OverlayTest {
 protected:
  static Groups groups_of(const std::vector<std::string>& paths) {
    const std::vector<Source> sources = open(paths);
    Scanner scanner(standard_formats(), {}, std::make_shared<KeyRing>(), {});
    for (const Source& source : sources) scanner.add(source);
    scanner.settle();
    return common_sources(*scanner.tree());
  }
  std::string image(const std::string& name, const std::string& size) const {
    test::must_run("truncate -s " + size + " " + (directory_ / name));
    return directory_ / name;
  }
  std::string member(const std::string& name, unsigned char array) const {
    Buffer bytes = test::pattern(2U << 20U, array);
    test::make_array_member(bytes, array);
    test::write_file(directory_ / name, bytes);
    return directory_ / name;
  }
};

TEST_F(Common, GuestsThatHaveNothingInCommon) {
  const std::string one = image("one.img", "16M");
  test::must_run("mke2fs -q -F " + one);
  const std::string copy = image("copy.img", "16M");
  test::must_run("cp " + one + " " + copy);
  EXPECT_EQ(groups_of({one, copy, make_raw()}), Groups{});
}

TEST_F(Common, AFilesystemOnTwoDevices) {
  if (!test::have_program("mkfs.btrfs")) GTEST_SKIP() << "mkfs.btrfs is not installed";
  const std::string one = image("one.img", "128M");
  const std::string two = image("two.img", "128M");
  const std::string alone = image("alone.img", "128M");
  test::must_run("mkfs.btrfs -q -d raid1 -m raid1 " + one + " " + two);
  test::must_run("mkfs.btrfs -q " + alone);
  const std::string copy = image("copy.img", "128M");
  test::must_run("cp " + alone + " " + copy);
  EXPECT_EQ(groups_of({one, alone, two, copy}), (Groups{{0, 2}}));
}

TEST_F(Common, AnArrayThatIsNotOpened) {
  EXPECT_EQ(groups_of({member("a", 1), member("b", 2), member("c", 1), member("d", 2)}),
            (Groups{{0, 2}, {1, 3}}));
}

TEST_F(Common, AnExternalJournal) {
  if (!test::have_program("mke2fs")) GTEST_SKIP() << "mke2fs is not installed";
  const std::string journal = image("journal.img", "8M");
  const std::string data = image("data.img", "32M");
  test::must_run("mke2fs -q -F -b 4096 -O journal_dev " + journal);
  test::must_run("mke2fs -q -F -t ext4 -b 4096 " + data);
  // As 'mke2fs -J device=' has it, which takes no files: s_journal_inum is 0, and s_journal_uuid
  // that of the journal.
  Buffer bytes = test::read_file(data);
  const Buffer other = test::read_file(journal);
  std::fill_n(bytes.begin() + 1024 + 0xe0, 4, std::byte{0});
  std::copy_n(other.begin() + 1024 + 0x68, 16, bytes.begin() + 1024 + 0xd0);
  test::write_file(data, bytes);
  EXPECT_EQ(groups_of({make_raw(), data, journal}), (Groups{{1, 2}}));
}

}  // namespace
}  // namespace peelfs::overlay
