#include "check/checkers.h"

#include <gtest/gtest.h>

#include "check/condition.h"
#include "support/support.h"

namespace peelfs::check {
namespace {

Verdict judged(const std::string& fstype, int code, const std::string& output = "") {
  return checker_of(fstype)->judge(code, output);
}

TEST(Checkers, ExitCodesAreThoseOfFsck) {
  for (const char* const kind : {"ext2", "ext3", "ext4", "exfat", "jfs", "reiserfs"}) {
    EXPECT_EQ(judged(kind, 0).state, State::clean) << kind;
    EXPECT_EQ(judged(kind, 4).state, State::errors) << kind;
    EXPECT_EQ(judged(kind, 8).state, State::failed) << kind;
    EXPECT_EQ(judged(kind, 12).state, State::errors)
        << kind << ": errors, though not all are known";
    EXPECT_EQ(judged(kind, 40).state, State::failed) << kind << ": it was cancelled";
    EXPECT_EQ(judged(kind, 137, "x\nlast words\n").state, State::failed) << kind;
  }
  EXPECT_NE(judged("ext4", 137, "x\nlast words\n").why.find("last words"), std::string::npos);
  EXPECT_NE(judged("ext4", 137).why.find("signal"), std::string::npos);
}

TEST(Checkers, ALogThatOnlyTheKernelReplaysIsNoDamage) {
  const std::string alert =
      "ALERT: The filesystem has valuable metadata changes in a log which is being\n"
      "ignored because the -n option was used.\n";
  EXPECT_EQ(judged("xfs", 1).state, State::errors);
  EXPECT_EQ(judged("xfs", 1, alert).state, State::skipped);
  EXPECT_EQ(judged("xfs", 0, alert).state, State::clean);
  EXPECT_FALSE(judged("xfs", 0, alert).why.empty());
  EXPECT_EQ(judged("xfs", 2).state, State::failed);
}

// xfs_repair says this of every image in a filesystem without a geometry, damaged or not.
TEST(Checkers, ADamagedXfsInAnImageIsDamaged) {
  const std::string said =
      "Cannot get host filesystem geometry.\nRepair may fail if there is a sector size mismatch "
      "between\nthe image and the host filesystem.\nPhase 1 - find and verify superblock...\n";
  EXPECT_EQ(judged("xfs", 1, said).state, State::errors);
  EXPECT_EQ(judged("xfs", 0, said).state, State::clean);
}

TEST(Checkers, ARepairHasDoneItsWorkOrNot) {
  const auto repaired = [](const std::string& kind, int code) {
    return checker_of(kind)->judge_repair(code, "last words\n").state;
  };
  for (const char* const kind : {"ext4", "exfat", "jfs", "vfat", "f2fs"}) {
    EXPECT_EQ(repaired(kind, 0), State::repaired) << kind;
    EXPECT_EQ(repaired(kind, 1), State::repaired) << kind;
    EXPECT_EQ(repaired(kind, 4), State::errors) << kind;
    EXPECT_EQ(repaired(kind, 8), State::failed) << kind;
    EXPECT_EQ(repaired(kind, 137), State::failed) << kind;
  }
  EXPECT_EQ(repaired("xfs", 2), State::errors) << "its log is dirty";
  EXPECT_EQ(repaired("xfs", 1), State::failed);
  EXPECT_EQ(repaired("reiserfs", 4), State::errors) << "its tree is not built anew";
  EXPECT_EQ(repaired("ntfs", 1), State::failed);
  EXPECT_EQ(repaired("btrfs", 2), State::failed);
}

// What a program cannot look at is not damaged, though its exit code is the same.
TEST(Checkers, WhatIsNotSupportedIsNoDamage) {
  EXPECT_EQ(judged("xfs", 1, "fatal error -- This filesystem has an external log.\n").state,
            State::failed);
  EXPECT_EQ(judged("xfs", 1, "Found unsupported filesystem features.  Exiting now.\n").state,
            State::failed);
  EXPECT_EQ(
      judged("btrfs", 1, "ERROR: couldn't open because of unsupported option features\n").state,
      State::failed);
  EXPECT_EQ(judged("btrfs", 1, "ERROR: errors found in fs roots\n").state, State::errors);
}

TEST(Checkers, AFatThatIsOnlyMarkedIsClean) {
  const std::string marked =
      "fsck.fat 4.2 (2021-01-31)\nDirty bit is set. Fs was not properly unmounted and some data "
      "may be "
      "corrupt.\n Automatically removing dirty bit.\n\n*** Filesystem was changed ***\n"
      "Leaving filesystem unchanged.\nx.img: 0 files, 0/16343 clusters\n";
  EXPECT_EQ(judged("vfat", 1, marked).state, State::clean);
  EXPECT_FALSE(judged("vfat", 1, marked).why.empty());
  EXPECT_EQ(judged("vfat", 1, marked + "/X has a bad start cluster\n").state, State::errors);
  EXPECT_EQ(judged("vfat", 1, "fsck.fat 4.2 (2021-01-31)\n").state, State::errors);
}

TEST(Checkers, ProgressOfE2fsck) {
  const auto percent = checker_of("ext4")->percent;
  EXPECT_EQ(percent("1 0 16 /dev/x\n"), 0U);
  EXPECT_EQ(percent("1 8 16 /dev/x\n"), 35U);
  EXPECT_EQ(percent("5 16 16 /dev/x\n"), 100U);
  for (const char* const other :
       {"", "Pass 1: Checking inodes, blocks, and sizes\n", "1 2\n", "9 1 2 /dev/x\n",
        "1 5 2 /dev/x\n", "1 1 0 /dev/x\n", "0 1 2 /dev/x\n", "17 18446744073709551999 1 x\n"}) {
    EXPECT_EQ(percent(other), std::nullopt) << other;
  }
}

TEST(Checkers, TheDeviceStandsWhereTheRowSays) {
  const Checker& row = *checker_of("btrfs");
  EXPECT_EQ(command_line("/bin/btrfs", row.check, "/m/x y"),
            (std::vector<std::string>{"/bin/btrfs", "check", "--readonly", "/m/x y"}));
  EXPECT_EQ(checker_of("nonsense"), nullptr);
  EXPECT_TRUE(is_never_checked("swap"));
}

/// What the superblock of an image says, after a command has worked on it.
Condition condition_after(
    const std::string& make, const std::string& fstype, const std::string& change,
    std::chrono::system_clock::time_point now = std::chrono::system_clock::now()) {
  const test::TemporaryDirectory folder;
  const std::string path = folder / "image";
  test::must_run("truncate -s 64M " + path + " && PATH=$PATH:/sbin:/usr/sbin && " + make + " " +
                 path + " 2>&1");
  if (!change.empty())
    test::must_run("PATH=$PATH:/sbin:/usr/sbin; cd " + folder.path() + " && " + change);
  return condition_of(fstype, *test::file_device(path), now);
}

TEST(FsckCondition, OfExt) {
  if (!test::have_program("mke2fs") || !test::have_program("debugfs")) {
    GTEST_SKIP() << "mke2fs or debugfs is not installed";
  }
  const std::string make = "mke2fs -q -F -t ext4";
  EXPECT_EQ(condition_after(make, "ext4", "").due, "");
  EXPECT_EQ(condition_after(make, "ext4", "tune2fs -c 2 -C 1 image").due, "");
  EXPECT_EQ(condition_after(make, "ext4", "tune2fs -c 2 -C 2 image").due,
            "it was mounted 2 times since its last check, which is due after 2");
  EXPECT_EQ(condition_after(make, "ext4", "debugfs -w -R 'ssv state 0' image").due,
            "it was not unmounted");
  EXPECT_EQ(condition_after(make, "ext4", "debugfs -w -R 'ssv state 3' image").due,
            "the kernel has recorded errors in it");
  EXPECT_TRUE(
      condition_after(make, "ext4", "debugfs -w -R 'feature needs_recovery' image").needs_replay);
  EXPECT_FALSE(condition_after(make, "ext4", "").needs_replay);
  const auto later = std::chrono::system_clock::now() + std::chrono::hours(24 * 40);
  EXPECT_EQ(condition_after(make, "ext4", "tune2fs -i 30d image").due, "");
  EXPECT_EQ(condition_after(make, "ext4", "tune2fs -i 30d image", later).due,
            "its last check was 40 days ago, and one is due after 30");
}

TEST(FsckCondition, ALostSuperblockIsFoundByItsBackup) {
  if (!test::have_program("mke2fs")) GTEST_SKIP() << "mke2fs is not installed";
  for (const char* const size : {"1024", "2048", "4096"}) {
    const test::TemporaryDirectory folder;
    const std::string path = folder / "image";
    test::must_run("truncate -s 200M " + path + " && mke2fs -q -F -t ext4 -b " + size + " " + path);
    test::must_run("dd status=none conv=notrunc if=/dev/zero bs=1k count=2 of=" + path);
    const std::string said = lost_filesystem(*test::file_device(path));
    ASSERT_NE(said.find("e2fsck -b "), std::string::npos) << size << said;
    const std::string options = said.substr(said.find("-b "), said.find(')') - said.find("-b "));
    EXPECT_EQ(
        test::run("PATH=$PATH:/sbin:/usr/sbin e2fsck -fy " + options + " " + path).exit_code & ~3,
        0)
        << options;
  }
  EXPECT_EQ(lost_filesystem(test::MemoryDevice{Buffer(1 << 20)}), "");
}

TEST(FsckCondition, OfFat) {
  if (!test::have_program("mkfs.vfat")) GTEST_SKIP() << "mkfs.vfat is not installed";
  for (const auto& [bits, place] : {std::pair("16", "37"), std::pair("32", "65")}) {
    const std::string make = std::string("mkfs.vfat -F ") + bits;
    EXPECT_EQ(condition_after(make, "vfat", "").due, "") << bits;
    EXPECT_EQ(
        condition_after(make, "vfat",
                        std::string("printf '\\001' | dd of=image bs=1 conv=notrunc seek=") + place)
            .due,
        "it was not unmounted")
        << bits;
  }
}

TEST(FsckCondition, OfExfat) {
  if (!test::have_program("mkfs.exfat")) GTEST_SKIP() << "mkfs.exfat is not installed";
  EXPECT_EQ(condition_after("mkfs.exfat", "exfat", "").due, "");
  EXPECT_EQ(condition_after("mkfs.exfat", "exfat",
                            "printf '\\002' | dd of=image bs=1 conv=notrunc seek=106")
                .due,
            "it was not unmounted");
}

TEST(FsckCondition, WhatCannotBeReadSaysNothing) {
  const test::MemoryDevice small{Buffer(100)};
  for (const char* const kind : {"ext4", "vfat", "exfat", "xfs"}) {
    const Condition condition = condition_of(kind, small, std::chrono::system_clock::now());
    EXPECT_FALSE(condition.needs_replay) << kind;
    EXPECT_EQ(condition.due, "") << kind;
  }
}

}  // namespace
}  // namespace peelfs::check
