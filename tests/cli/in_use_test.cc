// Images that this host uses without a lock: no command of peelfs writes them.
#include <unistd.h>

#include "cli/overlays.h"

namespace peelfs::test {
namespace {

/// An ext4 image on a loop device, mounted.
class OnTheHost : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    SKIP_WITHOUT("losetup");
    SKIP_WITHOUT("mke2fs");
    SKIP_IF_CANNOT_MOUNT();
    fs::create_directory(at_);
    fs::create_directory(host_);
    must_run("truncate -s 16M " + disk_ + " && mke2fs -q -F -t ext4 -L ours " + disk_);
  }
  void TearDown() override {
    if (is_mounted(at_)) peelfs("umount -l " + at_);
    if (is_mounted(host_)) run("umount " + host_);
    if (!loop_.empty()) run("losetup -d " + loop_);
  }
  /// @return whether there is a loop device to be had
  bool attach(const std::string& options = "") {
    const CommandResult made = run("losetup --show -f " + options + " " + disk_);
    if (made.exit_code == 0) loop_ = made.output.substr(0, made.output.find('\n'));
    return made.exit_code == 0;
  }
  bool mount_on_host(const std::string& options = "") {
    return attach() && run("mount " + options + " " + loop_ + " " + host_).exit_code == 0;
  }
  void overlay_with_a_label() const {
    must_run(PEELFS_PROGRAM " --overlay " + ov_ + " " + disk_ + " " + at_);
    must_run("e2label " + at_ + "/disk peeled");
    must_run(PEELFS_PROGRAM " umount " + at_);
  }
  void expect_named(const Outputs& refused, int code) const {
    EXPECT_EQ(refused.exit_code, code) << refused.output << refused.errors;
    EXPECT_TRUE(contains(refused.errors, loop_ + " is mounted at " + host_)) << refused.errors;
    EXPECT_TRUE(contains(refused.errors, "umount " + host_ + " && losetup -d " + loop_))
        << refused.errors;
  }
  TemporaryDirectory folder_;
  const std::string disk_ = folder_ / "disk.img";
  const std::string ov_ = folder_ / "ov";
  const std::string at_ = folder_ / "mnt";
  const std::string host_ = folder_ / "host";
  std::string loop_;
};

TEST_F(OnTheHost, AMountedImageIsNotWrittenInPlace) {
  if (!mount_on_host()) GTEST_SKIP() << "no loop device to be had";
  must_run("echo ours > " + host_ + "/file && sync -f " + host_);
  const std::string before = sha256(read_file(disk_));
  expect_named(peelfs_apart("--rw " + disk_ + " " + at_), 32);
  EXPECT_FALSE(is_mounted(at_));
  EXPECT_EQ(sha256(read_file(disk_)), before);
  EXPECT_EQ(peelfs("ls " + disk_).exit_code, 0) << "reading stays possible";
  EXPECT_TRUE(contains(peelfs_apart("ls " + disk_).errors,
                       "is being written by this host (" + loop_ + " is mounted at " + host_))
      << peelfs_apart("ls " + disk_).errors;
}

// An ordinary user may look neither at the loop device nor at the path that root attached.
TEST_F(OnTheHost, AUserDoesNotWriteWhatHeCannotKnowToBeFree) {
  SKIP_WITHOUT("setpriv");
  const std::string closed = folder_ / "closed";
  fs::create_directory(closed);
  fs::permissions(closed, fs::perms::owner_all);
  fs::permissions(folder_.path(), fs::perms::all);
  const std::string link = folder_ / "mine.img";
  must_run("mv " + disk_ + " " + closed + "/disk.img && ln " + closed + "/disk.img " + link +
           " && chown 65534 " + link + " && chown 65534 " + at_);
  const CommandResult made = run("losetup --show -f " + closed + "/disk.img");
  if (made.exit_code != 0) GTEST_SKIP() << "no loop device to be had";
  loop_ = made.output.substr(0, made.output.find('\n'));
  const std::string before = sha256(read_file(link));
  const CommandResult refused =
      run("setpriv --reuid=65534 --regid=65534 --clear-groups " PEELFS_PROGRAM " --rw " + link +
          " " + at_);
  EXPECT_EQ(refused.exit_code, 32) << refused.output;
  EXPECT_TRUE(contains(refused.output, loop_)) << refused.output;
  EXPECT_EQ(sha256(read_file(link)), before);
  must_run("losetup -d " + loop_);
  loop_.clear();
  const CommandResult fine = run(
      "setpriv --reuid=65534 --regid=65534 --clear-groups " PEELFS_PROGRAM " --rw " + link + " " +
      at_ + " && setpriv --reuid=65534 --regid=65534 --clear-groups " PEELFS_PROGRAM " umount " +
      at_);
  EXPECT_EQ(fine.exit_code, 0) << fine.output;
}

TEST_F(OnTheHost, NothingIsCommittedIntoAMountedImage) {
  overlay_with_a_label();
  if (!mount_on_host("-o ro,noload")) GTEST_SKIP() << "no loop device to be had";
  const std::string before = sha256(read_file(disk_));
  expect_named(peelfs_apart("commit --overlay " + ov_ + " " + disk_), 2);
  EXPECT_EQ(sha256(read_file(disk_)), before);
  EXPECT_TRUE(fs::exists(ov_ + "/disk.qcow2"));
  must_run("umount " + host_ + " && losetup -d " + loop_);
  loop_.clear();
  EXPECT_EQ(peelfs("commit --overlay " + ov_ + " " + disk_).exit_code, 0);
  EXPECT_TRUE(contains(must_run("e2label " + disk_), "peeled"));
}

TEST_F(OnTheHost, TryDoesNotEvenBegin) {
  if (!mount_on_host()) GTEST_SKIP() << "no loop device to be had";
  const Outputs refused =
      peelfs_apart("try --commit " + disk_ + " disk -- sh -c 'touch " + (folder_ / "ran") + "' {}");
  expect_named(refused, 125);
  EXPECT_FALSE(fs::exists(folder_ / "ran"));
}

TEST_F(OnTheHost, WhatIsAttachedWhileTryRunsIsSeenBeforeItCommits) {
  if (!attach()) GTEST_SKIP() << "no loop device to be had";
  must_run("losetup -d " + loop_);
  const std::string before = sha256(read_file(disk_));
  // Another process of this host, while the command runs.
  const std::string start = "(while ! test -e " + (folder_ / "ran") +
                            "; do sleep 0.1; done; losetup " + loop_ + " " + disk_ + " && touch " +
                            (folder_ / "attached") + ") & ";
  const CommandResult result =
      run(start + "TMPDIR=" + folder_.path() + " " PEELFS_PROGRAM " try --commit " + disk_ +
          " disk -- sh -c 'e2label {} peeled && touch " + (folder_ / "ran") +
          " && i=0; while ! "
          "test -e " +
          (folder_ / "attached") +
          " && test $i -lt 100; do i=$((i+1)); sleep 0.1; "
          "done' 2>&1; wait");
  if (!fs::exists(folder_ / "attached")) GTEST_SKIP() << "the loop device was taken meanwhile";
  EXPECT_TRUE(contains(result.output, "loop device " + loop_ + " shows it")) << result.output;
  EXPECT_EQ(sha256(read_file(disk_)), before);
  EXPECT_TRUE(contains(must_run("ls " + folder_.path() + "/peelfs-try-*"), "disk.qcow2"));
}

TEST_F(OnTheHost, ABlockDeviceBelowAMountIsNamed) {
  if (!mount_on_host()) GTEST_SKIP() << "no loop device to be had";
  const Outputs refused = peelfs_apart("--rw " + loop_ + " " + at_);
  EXPECT_EQ(refused.exit_code, 32);
  EXPECT_TRUE(contains(refused.errors, loop_ + " is mounted at " + host_)) << refused.errors;
}

TEST_F(OnTheHost, AnOverlayThatIsALoopDeviceIsNotWritten) {
  overlay_with_a_label();
  const CommandResult made = run("losetup --show -f " + ov_ + "/disk.qcow2");
  if (made.exit_code != 0) GTEST_SKIP() << "no loop device to be had";
  loop_ = made.output.substr(0, made.output.find('\n'));
  const std::string before = sha256(read_file(ov_ + "/disk.qcow2"));
  for (const std::string& line :
       {"--overlay " + ov_ + " " + disk_ + " " + at_, "commit --overlay " + ov_ + " " + disk_,
        "drop --overlay " + ov_ + " " + disk_, "checkpoint --overlay " + ov_ + " one"}) {
    const Outputs refused = peelfs_apart(line);
    EXPECT_NE(refused.exit_code, 0) << line;
    EXPECT_TRUE(contains(refused.errors, "loop device " + loop_ + " shows it"))
        << line << refused.errors;
  }
  EXPECT_EQ(sha256(read_file(ov_ + "/disk.qcow2")), before);
}

TEST_F(OnTheHost, AnExportDoesNotOverwriteIt) {
  if (!mount_on_host()) GTEST_SKIP() << "no loop device to be had";
  write_file(folder_ / "other.img", pattern(1U << 20U, 1));
  expect_named(peelfs_apart("export --force " + (folder_ / "other.img") + " other " + disk_), 2);
  EXPECT_EQ(fs::file_size(disk_), 16U << 20U);
}

TEST_F(OnTheHost, ALoopDeviceInAMountOfItsOwnSource) {
  must_run(PEELFS_PROGRAM " " + disk_ + " " + at_);
  const CommandResult made = run("losetup -r --show -f " + at_ + "/disk");
  if (made.exit_code != 0) GTEST_SKIP() << "no loop device to be had";
  loop_ = made.output.substr(0, made.output.find('\n'));
  fs::create_directory(folder_ / "second");
  const Outputs refused = peelfs_apart("--rw " + disk_ + " " + (folder_ / "second"));
  EXPECT_EQ(refused.exit_code, 32);
  EXPECT_TRUE(contains(refused.errors, "it is mounted at " + at_)) << refused.errors;
}

}  // namespace
}  // namespace peelfs::test
