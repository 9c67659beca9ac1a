// `try` where the kernel grants no namespaces: what needs them is refused, the rest is run and
// said.
#include "cli/overlays.h"
#include "try/loop_device.h"
#include "try/several_devices.h"

namespace peelfs::test {
namespace {

class NoWorld : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT("unshare");
    SKIP_IF_CANNOT_MOUNT();
    if (run(without("mount -t tmpfs none /mnt && ! unshare -U true && ! unshare -m true"))
            .exit_code != 0) {
      GTEST_SKIP() << "namespaces cannot be forbidden here";
    }
    make_disk(folder_ / "disk.img");
    const Outputs plain = try_it("disk.img diskp1", "true {}");
    if (contains(plain.errors, "fuse")) GTEST_SKIP() << "no FUSE in a namespace: " << plain.errors;
  }
  /// A shell command in a place where no further namespaces are to be had.
  std::string without(const std::string& command, bool mounts = false) const {
    return "unshare -Urm sh -c 'echo 0 >/proc/sys/user/max_user_namespaces" +
           std::string(mounts ? "" : "; echo 0 >/proc/sys/user/max_mnt_namespaces") + "; " +
           command + "' 2>" + (folder_ / "errors");
  }
  Outputs try_it(const std::string& what, const std::string& command, bool mounts = false) const {
    const CommandResult done =
        run(without("cd " + folder_.path() + "; TMPDIR=" + folder_.path() + " exec " +
                        PEELFS_PROGRAM " try --drop " + what + " -- " + command,
                    mounts));
    return {done.exit_code, done.output, run("cat " + (folder_ / "errors")).output};
  }
  const TemporaryDirectory folder_;
};

TEST_F(NoWorld, AFilesystemOnOneDeviceIsWorkedOnAndSaid) {
  const Outputs done = try_it("disk.img diskp1", "true {}");
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_TRUE(contains(done.errors, "could see the host")) << done.errors;
}

TEST_F(NoWorld, WhatMayHaveOthersIsRefused) {
  make_ext4_with_journal(folder_ / "fs.img", folder_ / "j.img", folder_ / "scratch");
  must_run("truncate -s 1M " + (folder_ / "blank.img"));
  const std::string touch = "touch " + (folder_ / "ran") + " {}";
  for (const std::string& what : {std::string("fs.img j.img fs"), std::string("blank.img blank"),
                                  std::string("disk.img diskp2"), std::string("disk.img disk")}) {
    const Outputs refused = try_it(what, touch);
    EXPECT_EQ(refused.exit_code, 125) << what;
    EXPECT_TRUE(contains(refused.errors, "cannot be kept away from the original"))
        << refused.errors;
    EXPECT_FALSE(fs::exists(folder_ / "ran")) << what;
  }
  // The journal is named by a copy of the superblock only, as tune2fs leaves one in block group 1.
  must_run("dd if=" + (folder_ / "fs.img") + " of=" + (folder_ / "fs.img") +
           " bs=1024 skip=1 seek=8193 count=1 conv=notrunc status=none; printf '\\001' | dd of=" +
           (folder_ / "fs.img") + " bs=1 seek=" + std::to_string(8193 * 1024 + 0x5a) +
           " conv=notrunc status=none");
  must_run("dd if=/dev/zero of=" + (folder_ / "fs.img") +
           " bs=1024 seek=1 count=1 conv=notrunc status=none");
  const Outputs refused = try_it("fs.img j.img fs", touch);
  EXPECT_EQ(refused.exit_code, 125);
  EXPECT_TRUE(contains(refused.errors, "has its journal on another device")) << refused.errors;
}

TEST_F(NoWorld, ABtrfsOnTwoDevicesIsRefused) {
  SKIP_WITHOUT("mkfs.btrfs");
  if (const auto why = make_broken_btrfs(folder_ / "a.img", folder_ / "b.img"); !why.empty()) {
    GTEST_SKIP() << why;
  }
  for (const char* const name : {"a", "b"}) {
    const Outputs refused =
        try_it(std::string("a.img b.img ") + name, "touch " + (folder_ / "ran") + " {}");
    EXPECT_EQ(refused.exit_code, 125);
    EXPECT_TRUE(contains(refused.errors, "one of 2 devices of a btrfs")) << refused.errors;
    EXPECT_FALSE(fs::exists(folder_ / "ran"));
  }
}

/// Root where there are no user namespaces has a world by its own privileges, and gives them up.
TEST_F(NoWorld, RootNeedsNoUserNamespace) {
  const Outputs done =
      try_it("disk.img diskp2",
             "sh -c \"find /dev/ -type b; cat /proc/partitions; mount -t tmpfs x /mnt "
             "&& echo mounted; printf X | dd of=" +
                 (folder_ / "disk.img") + " conv=notrunc; mount >/dev/null; : {}\"",
             true);
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_EQ(done.output, "") << done.errors;
  EXPECT_TRUE(contains(done.errors, "Read-only file system")) << done.errors;
}

/// A mount has no world: it warns of originals that tools can find.
TEST(VisibleOriginals, AreWarnedOf) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  SKIP_IF_CANNOT_MOUNT();
  const TemporaryDirectory folder;
  make_ext4_with_journal(folder / "fs.img", folder / "j.img", folder / "scratch");
  make_disk(folder / "disk.img");
  must_run("mkdir " + (folder / "mnt"));
  const auto mounted = [&](const std::string& sources) {
    const Outputs outputs = peelfs_apart("--overlay-temp " + sources + " " + (folder / "mnt"));
    EXPECT_EQ(outputs.exit_code, 0) << outputs.errors;
    peelfs("umount " + (folder / "mnt"));
    return outputs.errors;
  };
  const std::string both = (folder / "fs.img") + " " + (folder / "j.img");
  EXPECT_FALSE(contains(mounted(both), "visible"));
  const LoopDevice loop(folder / "j.img");
  const LoopDevice other(folder / "disk.img");
  ASSERT_TRUE(loop && other);
  const std::string warning = mounted(both);
  EXPECT_TRUE(contains(warning, "fs has its journal on another device")) << warning;
  EXPECT_TRUE(contains(warning, "visible as " + loop.path())) << warning;
  EXPECT_FALSE(contains(mounted(folder / "disk.img"), "visible")) << "it lies on one device";
}

}  // namespace
}  // namespace peelfs::test
