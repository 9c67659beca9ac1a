// A file is known by device and inode: what it was called where it was mounted does not matter.
#include "cli/overlays.h"

namespace peelfs::test {
namespace {

class SameFile : public Overlays {
 protected:
  std::string in(const std::string& folder, const std::string& arguments) const {
    return "cd " + folder + " && " PEELFS_PROGRAM " " + arguments;
  }
};

TEST_F(SameFile, AMountWithARelativePathIsSeenFromElsewhere) {
  write_through_mount();
  must_run(in(folder_.path(), "./disk.img mnt"));
  const Outputs refused = with("commit", disk_);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "it is mounted at " + at_)) << refused.errors;
  EXPECT_EQ(peelfs("umount " + at_).exit_code, 0);
  untouched();
  EXPECT_EQ(with("commit", disk_).exit_code, 0);
}

TEST_F(SameFile, AnotherFileWithTheSameRelativePathIsNone) {
  write_through_mount();
  fs::create_directory(folder_ / "other");
  must_run("cp " + disk_ + " " + (folder_ / "other"));
  must_run(in(folder_ / "other", "./disk.img " + at_));
  const CommandResult committed = run(in(folder_.path(), "commit --overlay ov ./disk.img"));
  EXPECT_EQ(committed.exit_code, 0) << committed.output;
  EXPECT_EQ(peelfs("umount " + at_).exit_code, 0);
}

TEST_F(SameFile, LinksRenamesAndAnotherFsname) {
  write_through_mount();
  must_run("ln " + disk_ + " " + (folder_ / "hard.img") + " && ln -s disk.img " +
           (folder_ / "soft.img"));
  must_run(PEELFS_PROGRAM " -o fsname=whatever " + (folder_ / "hard.img") + " " + at_);
  must_run("rm " + (folder_ / "hard.img"));
  const Outputs refused = with("commit", "disk=" + (folder_ / "soft.img"));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "it is mounted at " + at_)) << refused.errors;
  fs::create_directory(folder_ / "second");
  const Outputs in_place = peelfs_apart("--rw " + disk_ + " " + (folder_ / "second"));
  EXPECT_EQ(in_place.exit_code, 32);
  EXPECT_TRUE(contains(in_place.errors, "it is mounted at " + at_)) << in_place.errors;
  EXPECT_EQ(peelfs("umount " + at_).exit_code, 0);
  untouched();
}

TEST_F(SameFile, ABackingFileThatIsShownIsNotCommittedInto) {
  must_run("qemu-img create -q -f qcow2 -b " + disk_ + " -F raw " + (folder_ / "top.qcow2"));
  write_through_mount();
  must_run(PEELFS_PROGRAM " " + (folder_ / "top.qcow2") + " " + at_);
  const Outputs refused = with("commit", disk_);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "it is mounted at " + at_)) << refused.errors;
  EXPECT_EQ(peelfs("umount " + at_).exit_code, 0);
  untouched();
}

/// A qcow2 whose data lies in a file of its own.
class DataFile : public Overlays {
 protected:
  void SetUp() override {
    Overlays::SetUp();
    if (IsSkipped()) return;
    must_run("cd " + folder_.path() + " && qemu-img create -q -f qcow2 -o data_file=d.raw " +
             "i.qcow2 4M && qemu-io -f qcow2 -c 'write -P 1 0 4M' i.qcow2");
    must_run(PEELFS_PROGRAM " --overlay " + ov_ + " " + image_ + more_ + " " + at_);
    must_run("printf MARK | dd of=" + at_ + "/i bs=1 seek=1000000 conv=notrunc,fsync status=none");
    must_run(PEELFS_PROGRAM " umount " + at_);
  }
  const std::string image_ = folder_ / "i.qcow2";
  const std::string more_ = " --allow-reference " + (folder_ / "d.raw");
  /// A commit that begins, and meets a limit on the size of files before the place of the mark.
  CommandResult half() const {
    return run("trap '' XFSZ; ulimit -f 1500; exec " PEELFS_PROGRAM " commit --overlay " + ov_ +
               " " + image_ + more_ + " 2>&1");
  }
  bool committed() const {
    return contains(must_run("cd " + folder_.path() +
                             " && qemu-io -r -f qcow2 -c 'read -v 1000000 4' i.qcow2 </dev/null"),
                    "MARK");
  }
};

TEST_F(DataFile, IsCommittedAndVerified) {
  const Outputs result = with("commit", image_ + more_);
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_TRUE(contains(result.output, "verified")) << result.output;
  EXPECT_TRUE(committed());
  EXPECT_TRUE(fs::is_empty(ov_));
  must_run("cd " + folder_.path() + " && qemu-img check -q i.qcow2");
}

TEST_F(DataFile, WhatCannotBeVerifiedIsNotWritten) {
  const std::string before = sha256(read_file(folder_ / "d.raw"));
  must_run("mv " + (folder_ / "d.raw") + " " + (folder_ / "away"));
  EXPECT_NE(with("commit", image_).exit_code, 0);
  must_run("mv " + (folder_ / "away") + " " + (folder_ / "d.raw"));
  EXPECT_EQ(sha256(read_file(folder_ / "d.raw")), before);
  EXPECT_EQ(with("drop", image_).exit_code, 0);
  EXPECT_TRUE(fs::is_empty(ov_));
}

TEST_F(DataFile, ACommitThatWasInterruptedIsFinished) {
  const CommandResult stopped = half();
  EXPECT_EQ(stopped.exit_code, 2) << stopped.output;
  EXPECT_TRUE(contains(stopped.output, "half done")) << stopped.output;
  EXPECT_FALSE(committed());
  EXPECT_NE(with("drop", image_).exit_code, 0);
  EXPECT_EQ(with("commit", image_ + more_).exit_code, 0);
  EXPECT_TRUE(committed());
  EXPECT_TRUE(fs::is_empty(ov_));
}

TEST_F(DataFile, ACommitThatWasInterruptedIsDropped) {
  EXPECT_EQ(half().exit_code, 2);
  const Outputs refused = with("drop", image_);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "--half-committed")) << refused.errors;
  EXPECT_EQ(with("drop --half-committed", image_).exit_code, 0);
  EXPECT_TRUE(fs::is_empty(ov_));
}

TEST_F(DataFile, InUseIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  SKIP_WITHOUT("losetup");
  const CommandResult made = run("losetup --show -f " + (folder_ / "d.raw"));
  if (made.exit_code != 0) GTEST_SKIP() << "no loop device to be had";
  const std::string loop = made.output.substr(0, made.output.find('\n'));
  const Outputs refused = with("commit", image_ + more_);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "loop device " + loop + " shows it")) << refused.errors;
  EXPECT_FALSE(committed());
  must_run("losetup -d " + loop);
  EXPECT_EQ(with("commit", image_ + more_).exit_code, 0);
  EXPECT_TRUE(committed());
}

}  // namespace
}  // namespace peelfs::test
