// One file under two names that are not the same: a loop device and its file, an image and its
// backing file, a file and its copy.
#include <unistd.h>

#include "cli/overlays.h"

namespace peelfs::test {
namespace {

/// A file on a loop device.
class LoopSource : public Overlays {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    SKIP_WITHOUT("losetup");
    Overlays::SetUp();
    fs::create_directory(folder_ / "second");
  }
  void TearDown() override {
    if (is_mounted(folder_ / "second")) peelfs("umount -l " + (folder_ / "second"));
    Overlays::TearDown();
    detach();
  }
  /// @param which a device that is free; empty: any @return whether there is one to be had
  bool attach(const std::string& which = "") {
    const CommandResult made =
        run("losetup " + (which.empty() ? "--show -f " : which + " ") + disk_ + " 2>/dev/null");
    if (made.exit_code != 0) return false;
    loop_ = which.empty() ? made.output.substr(0, made.output.find('\n')) : which;
    return true;
  }
  void detach() {
    if (!loop_.empty()) run("losetup -d " + loop_);
    loop_.clear();
  }
  void expect_refused_in_place(const std::string& why) const {
    const Outputs refused = peelfs_apart("--rw " + loop_ + " " + (folder_ / "second"));
    EXPECT_EQ(refused.exit_code, 32) << refused.errors;
    EXPECT_TRUE(contains(refused.errors, why)) << refused.errors;
    EXPECT_TRUE(contains(refused.errors, disk_)) << refused.errors;
  }
  std::string loop_;
};

TEST_F(LoopSource, OverTheFileOfAnOverlay) {
  must_run(PEELFS_PROGRAM " --overlay " + ov_ + " " + disk_ + " " + at_);
  if (!attach()) GTEST_SKIP() << "no loop device to be had";
  expect_refused_in_place("it is mounted at " + at_);
  must_run(PEELFS_PROGRAM " umount " + at_);
  untouched();
  must_run(PEELFS_PROGRAM " --rw " + loop_ + " " + at_);
}

TEST_F(LoopSource, OverAFileThatIsShown) {
  must_run(PEELFS_PROGRAM " " + disk_ + " " + at_);
  if (!attach()) GTEST_SKIP() << "no loop device to be had";
  expect_refused_in_place("it is mounted at " + at_);
}

TEST_F(LoopSource, OverAFileThatIsWritten) {
  if (!attach()) GTEST_SKIP() << "no loop device to be had";
  const std::string device = loop_;
  must_run(PEELFS_PROGRAM " -q --overlay " + ov_ + " disk=" + device + " " + at_ +
           " && printf MARK | dd of=" + at_ +
           "/diskp2 bs=1 seek=5000 conv=notrunc status=none && " + PEELFS_PROGRAM " umount " + at_);
  detach();
  must_run(PEELFS_PROGRAM " --rw " + disk_ + " " + at_);
  if (!attach(device)) GTEST_SKIP() << "the loop device was taken meanwhile";
  expect_refused_in_place("it is mounted at " + at_);
  const Outputs refused = with("commit", "disk=" + device);
  EXPECT_EQ(refused.exit_code, 2) << refused.output;
  EXPECT_TRUE(contains(refused.errors, "it is mounted at " + at_)) << refused.errors;
  must_run(PEELFS_PROGRAM " umount " + at_);
  untouched();
  EXPECT_EQ(with("commit", "disk=" + device).exit_code, 0);
}

TEST_F(LoopSource, IsItsFileNamedTwice) {
  if (!attach()) GTEST_SKIP() << "no loop device to be had";
  for (const std::string& both : {loop_ + " " + disk_, disk_ + " " + loop_}) {
    const Outputs refused = peelfs_apart("--overlay " + ov_ + " " + both + " " + at_);
    EXPECT_EQ(refused.exit_code, 1) << refused.errors;
    EXPECT_TRUE(contains(refused.errors, " shows bytes of ")) << refused.errors;
  }
  EXPECT_EQ(peelfs("ls " + loop_ + " " + disk_).exit_code, 0) << "reading stays possible";
}

/// c.qcow2 over base.raw.
class Chain : public Overlays {
 protected:
  void SetUp() override {
    Overlays::SetUp();
    if (IsSkipped()) return;
    must_run("cd " + folder_.path() +
             " && truncate -s 4M base.raw && qemu-img create -q -f qcow2 " +
             "-b base.raw -F raw c.qcow2");
  }
  void expect_refused(const std::string& arguments) const {
    const Outputs refused = peelfs_apart(arguments);
    EXPECT_EQ(refused.exit_code, 1) << arguments << refused.errors;
    EXPECT_TRUE(contains(refused.errors, base_ + " is the backing-file of " + image_))
        << arguments << refused.errors;
  }
  const std::string image_ = folder_ / "c.qcow2", base_ = folder_ / "base.raw";
};

TEST_F(Chain, AnImageAndItsBackingFileAreNotWrittenTogether) {
  for (const std::string& both : {image_ + " " + base_, base_ + " " + image_}) {
    expect_refused("--overlay " + ov_ + " " + both + " " + at_);
    expect_refused("--overlay-temp " + both + " " + at_);
    expect_refused("--rw " + both + " " + at_);
    EXPECT_FALSE(is_mounted(at_));
  }
  must_run(PEELFS_PROGRAM " " + image_ + " " + base_ + " " + at_ + " && test -f " + at_ +
           "/c && test -f " + at_ + "/base && " PEELFS_PROGRAM " umount " + at_);
}

TEST_F(Chain, OverlaysOfBothAreNotCommittedTogether) {
  for (const std::string& one : {image_, base_}) {
    must_run(PEELFS_PROGRAM " --overlay " + ov_ + " " + one + " " + at_ + " && printf MARK | dd " +
             "of=\"$(ls " + at_ + "/c " + at_ + "/base 2>/dev/null)\" bs=1 seek=5000 " +
             "conv=notrunc status=none && " PEELFS_PROGRAM " umount " + at_);
  }
  const std::string before = sha256(read_file(base_)) + sha256(read_file(image_));
  const Outputs refused = with("commit", image_ + " " + base_);
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_TRUE(contains(refused.errors, base_ + " is the backing-file of " + image_))
      << refused.errors;
  EXPECT_TRUE(contains(refused.errors, "peelfs drop")) << refused.errors;
  EXPECT_EQ(sha256(read_file(base_)) + sha256(read_file(image_)), before);
  EXPECT_EQ(with("commit", image_).exit_code, 0);
}

TEST_F(Overlays, ACopyIsNotCommittedIntoWhileTheSourceIsThere) {
  write_through_mount();
  fs::create_directory(folder_ / "b");
  const std::string copy = folder_ / "b/disk.img";
  must_run("cp -p " + disk_ + " " + copy);
  for (const std::string& line :
       {"commit --overlay " + ov_ + " " + copy, "--overlay " + ov_ + " " + copy + " " + at_}) {
    const Outputs refused = peelfs_apart(line);
    EXPECT_NE(refused.exit_code, 0) << line;
    EXPECT_TRUE(contains(
        refused.errors,
        "it was made for " + disk_ + ", which is still there, and " + copy + " is another file"))
        << refused.errors;
  }
  EXPECT_EQ(sha256(read_file(copy)), digest_);
  must_run("mv " + disk_ + " " + (folder_ / "away"));
  must_run(PEELFS_PROGRAM " -q --overlay " + ov_ + " " + copy + " " + at_ +
           " && " PEELFS_PROGRAM " umount " + at_);
  must_run("mv " + (folder_ / "away") + " " + disk_);
  EXPECT_EQ(with("commit --accept-source", copy).exit_code, 0);
  EXPECT_NE(sha256(read_file(copy)), digest_);
  untouched();
}

}  // namespace
}  // namespace peelfs::test
