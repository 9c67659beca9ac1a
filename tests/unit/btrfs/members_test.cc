// Which device of a btrfs this is, as long as one superblock is left.
#include "btrfs/members.h"

#include <gtest/gtest.h>

#include "support/support.h"

namespace peelfs::btrfs {
namespace {

TEST(Members, AnySuperblockWillDo) {
  if (!test::have_program("mkfs.btrfs")) GTEST_SKIP() << "btrfs-progs is not installed";
  const test::TemporaryDirectory folder;
  const std::string one = folder / "one";
  const std::string two = folder / "two";
  const test::CommandResult made = test::run("truncate -s 130M " + one + " " + two +
                                             "; PATH=$PATH:/usr/sbin mkfs.btrfs -q -d raid1 -m "
                                             "raid1 " +
                                             one + " " + two);
  if (made.exit_code != 0) GTEST_SKIP() << made.output;
  const auto ask = [](const std::string& image) { return membership(*test::file_device(image)); };
  const auto whole = ask(one);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->devices, 2U);
  EXPECT_EQ(whole->device_id, 1U);
  ASSERT_TRUE(ask(two));
  EXPECT_EQ(ask(two)->device_id, 2U);
  EXPECT_EQ(ask(two)->uuid, whole->uuid);

  const auto lose = [&](std::uint64_t block) {
    test::must_run("head -c 4096 /dev/urandom | dd of=" + one +
                   " bs=4096 conv=notrunc status=none "
                   "seek=" +
                   std::to_string(block));
  };
  lose(16);
  const auto copy = ask(one);
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->uuid, whole->uuid);
  EXPECT_EQ(copy->devices, 2U);
  EXPECT_EQ(copy->device_id, 1U);
  lose(16384);
  EXPECT_FALSE(ask(one));
}

/// A primary superblock that was damaged into "one device" does not hide the second.
TEST(Members, TheMostDevicesCount) {
  if (!test::have_program("mkfs.btrfs")) GTEST_SKIP() << "btrfs-progs is not installed";
  const test::TemporaryDirectory folder;
  const auto made = test::run("truncate -s 130M " + (folder / "one") + " " + (folder / "two") +
                              "; PATH=$PATH:/usr/sbin mkfs.btrfs -q -d raid1 -m raid1 " +
                              (folder / "one") + " " + (folder / "two"));
  if (made.exit_code != 0) GTEST_SKIP() << made.output;
  test::must_run("printf '\\001' | dd of=" + (folder / "one") +
                 " bs=1 seek=65672 conv=notrunc status=none");
  const auto found = membership(*test::file_device(folder / "one"));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->devices, 2U);
}

}  // namespace
}  // namespace peelfs::btrfs
