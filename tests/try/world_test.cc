// The world in which `try` runs its command: what is in it, and what a command cannot do from
// there.
#include <memory>

#include "cli/overlays.h"
#include "try/loop_device.h"

namespace peelfs::test {
namespace {

using World = Overlays;

TEST_F(World, NoBlockDeviceIsThere) {
  const LoopDevice loop(disk_);
  const Outputs seen = try_it(
      "--drop " + disk_ +
      " diskp1 -- sh -c 'find /dev/ -type b -o -name \"*control\" -o -name fuse; cat "
      "/proc/partitions; for d in /sys/block /sys/class/block /sys/dev/block; do ls $d; done; "
      "ls /run/udev /run/lvm 2>/dev/null; PATH=$PATH:/usr/sbin:/sbin; blkid -o device; : {}'");
  EXPECT_TRUE(contains(seen.output, "/mnt/diskp1\n")) << "libblkid's list: " << seen.output;
  EXPECT_FALSE(contains(seen.output, "loop")) << seen.output;
  EXPECT_FALSE(contains(seen.output, "/dev/")) << seen.output;
  EXPECT_FALSE(contains(seen.output, "sda")) << seen.output;
  EXPECT_FALSE(contains(seen.output, "vda")) << seen.output;
  untouched();
}

TEST_F(World, ToolsFindWhatTheyNeed) {
  const Outputs seen = try_it(
      "--drop " + disk_ +
      " diskp1 -- sh -c 'set -e; : {}; echo x >/dev/null; head -c4 /dev/urandom >/dev/zero; "
      "head -c4 /dev/zero | wc -c; [ ! -e /dev/tty ] || ls /dev/tty; ls -d /proc/self /dev/fd/0; "
      "echo made >" +
      (folder_ / "made") + "; cat " + disk_ + " | head -c 4 | wc -c; id -u; kill -0 $$'");
  EXPECT_EQ(seen.exit_code, 0) << seen.output << seen.errors;
  EXPECT_TRUE(fs::exists(folder_ / "made"));
  EXPECT_TRUE(contains(seen.output, "\n" + std::to_string(::geteuid()) + "\n")) << seen.output;
}

TEST_F(World, RepairToolsWork) {
  for (const std::string& line :
       {std::string("e2fsck -fn {}"), std::string("mke2fs -q -F -t ext4 {}"),
        std::string("mkfs.xfs -q -f {} && xfs_repair -n {}"),
        std::string("mkfs.vfat {} && fsck.vfat -n {}"), std::string("qemu-img info -f raw {}")}) {
    const std::string tool = line.substr(0, line.find(' '));
    if (!have_program(tool)) continue;
    const std::string large = folder_ / "large.img";
    must_run("truncate -s 400M " + large);
    const bool own = line.find("xfs") != std::string::npos;
    const Outputs done = try_it("--drop " + (own ? large + " large" : disk_ + " diskp1") +
                                " -- sh -c 'PATH=$PATH:/usr/sbin:/sbin; " + line + "'");
    EXPECT_EQ(done.exit_code, 0) << line << ": " << done.output << done.errors;
  }
  untouched();
}

TEST_F(World, NothingOfItIsSeenOutside) {
  const std::string before = must_run("cat /proc/self/mounts");
  Terminal terminal(
      command_line("try --drop " + disk_ + " diskp2 -- sh -c 'echo ready {}; read answer'"));
  ASSERT_TRUE(terminal.wait_for("ready"));
  const std::string during = must_run("cat /proc/self/mounts");
  EXPECT_FALSE(contains(during, "/world")) << during;
  terminal.type("\n");
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_TRUE(nothing_kept());
}

/// What the command has started and left behind ends with it, and the mount can be ended.
TEST_F(World, WhatItLeavesRunningEnds) {
  const Outputs done =
      try_it("--drop " + disk_ + " diskp2 -- sh -c 'sleep 1000 & echo left {}; exit 3'");
  EXPECT_EQ(done.exit_code, 3) << done.errors;
  EXPECT_TRUE(nothing_kept());
  EXPECT_FALSE(is_mounted(folder_ / "tmp"));
}

/// A helper that still writes is waited for.
TEST_F(World, WhatStillWritesIsWaitedFor) {
  const Outputs done = try_it("--keep " + ov_ + " " + disk_ +
                              " diskp2 -- sh -c '(exec 3<>{}; sleep 2; printf LATE >&3) & "
                              "sleep 1'");
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_TRUE(contains(done.errors, "still using the mount")) << done.errors;
  EXPECT_EQ(peelfs_apart("cat --length 4 --overlay " + ov_ + " " + disk_ + " diskp2 | cat").output,
            "LATE");
  untouched();
}

/// Ways to write an original, and nothing else: they are run outside of a world as well. $D is its
/// path, $L a loop device on it, $N a node of that device that lies about in a directory, $H
/// another name (hard link) of it, $B the directory it lies in at another place (bind mount), $P a
/// process of the same user outside that has it open.
struct Attack {
  const char* name;
  const char* line;
  bool works_outside;  ///< where nothing prevents it, and the user is root
};
const Attack kAttacks[] = {
    {"ByPath", "printf X | dd of=$D conv=notrunc", true},
    {"ByShortening", "truncate -s 0 $D", true},
    {"ByWorkingDirectory", "cd $(dirname $D) && printf X | dd of=./disk.img conv=notrunc", true},
    {"ByHardLink", "printf X | dd of=$H conv=notrunc", true},
    {"ByNewHardLink", "ln $D $D.new && printf X | dd of=$D.new conv=notrunc", true},
    {"ByMovingItsDirectory",
     "d=$(dirname $D); mv $d $d.moved && printf X | dd of=$d.moved/disk.img conv=notrunc; mv "
     "$d.moved $d",
     true},
    {"ByBindMount", "printf X | dd of=$B/disk.img conv=notrunc", true},
    {"ByReplacing", "printf X >$D.other; mv -f $D.other $D", true},
    {"ByRemoving", "rm -f $D", true},
    {"ByLoopDevice", "printf X | dd of=$L conv=notrunc,fsync", true},
    {"ByNodeElsewhere", "printf X | dd of=$N conv=notrunc,fsync", true},
    {"ByMknod",
     "rm -f $D.node; mknod $D.node b 7 ${L#/dev/loop} && printf X | dd of=$D.node "
     "conv=notrunc,fsync",
     true},
    {"ByMknodInMemory",
     "mknod /dev/shm/peelfs-node b 7 ${L#/dev/loop} && printf X | dd of=/dev/shm/peelfs-node "
     "conv=notrunc,fsync; rm -f /dev/shm/peelfs-node",
     true},
    {"ByNewLoop",
     "l=$(losetup --show -f $D) && printf X | dd of=$l conv=notrunc,fsync; losetup -d $l", true},
    {"ByRemounting",
     "mount -o remount,bind,rw $D; umount $D; umount -l $D; printf X | dd of=$D conv=notrunc",
     true},
    {"ByDevtmpfs",
     "mkdir -p $D.dev && mount -t devtmpfs dev $D.dev && printf X | dd "
     "of=$D.dev/${L#/dev/} conv=notrunc,fsync; umount $D.dev",
     true},
    {"ByUserNamespace",
     "unshare -Urm sh -c \"umount -l $D; umount -l /dev; mount -o remount,bind,rw $D; printf X | "
     "dd "
     "of=$D conv=notrunc; printf X | dd of=$L conv=notrunc,fsync\"",
     true},
    {"ByRootOfAnotherProcess", "printf X | dd of=/proc/$P/root$D conv=notrunc", true},
    {"ByDescriptorOfAnotherProcess", "printf X | dd of=/proc/$P/fd/7 conv=notrunc", true},
    {"ByAnyDescriptor",
     "for f in /proc/[0-9]*/fd/*; do case $(readlink $f) in $D) printf X | dd of=$f "
     "conv=notrunc;; esac; done",
     true},
    {"ByWorkingDirectoryOfAnotherProcess", "printf X | dd of=/proc/$P/cwd/disk.img conv=notrunc",
     true},
    {"ByNsenter", "nsenter -t $P -m sh -c \"printf X | dd of=$D conv=notrunc\"", true},
    {"ByNsenterOfTheFirst",
     "nsenter -t 1 -m -U sh -c \"printf X | dd of=$D conv=notrunc; printf X | dd of=$L "
     "conv=notrunc\"",
     false},
    {"ByDebugger",
     "command -v gdb >/dev/null && gdb -p $P -batch -ex \"call (long)write(7, \\\"X\\\", 1)\"",
     false},
    {"ByChroot", "chroot /proc/$P/root sh -c \"printf X | dd of=$D conv=notrunc\"", true},
};

class Hostile : public Overlays {
 protected:
  void SetUp() override {
    Overlays::SetUp();
    if (IsSkipped()) return;
    loop_ = std::make_unique<LoopDevice>(disk_);
    must_run("mkdir " + (folder_ / "bound"));
    if (::geteuid() == 0) {
      ASSERT_TRUE(*loop_);
      must_run("mount --bind " + folder_.path() + " " + (folder_ / "bound") + "; mknod " +
               (folder_ / "node") + " b 7 " + loop_->path().substr(9) + "; chmod 666 " +
               (folder_ / "node"));
    }
    holder_ = ::popen(
        ("exec 7<>" + disk_ + "; cd " + folder_.path() + "; echo $$ >holder; exec cat >/dev/null")
            .c_str(),
        "w");
    ASSERT_TRUE(wait_until(
        [&] { return fs::exists(folder_ / "holder") && fs::file_size(folder_ / "holder") > 0; }));
  }
  void TearDown() override {
    if (holder_ != nullptr) ::pclose(holder_);
    run("umount -l " + (folder_ / "bound") + "; rm -f /dev/shm/peelfs-node");
    loop_.reset();
    Overlays::TearDown();
  }
  /// The attack's shell script, with its variables set.
  std::string script(const Attack& attack) const {
    std::string pid = must_run("cat " + (folder_ / "holder"));
    pid.pop_back();
    const std::string path = folder_ / "attack.sh";
    const std::string text =
        "PATH=$PATH:/usr/sbin:/sbin D=" + disk_ + " L=" + (*loop_ ? loop_->path() : "/dev/loop99") +
        " N=" + (folder_ / "node") + " H=" + (folder_ / "other-name") +
        " B=" + (folder_ / "bound") + " P=" + pid + "\necho attacking\n" + attack.line + "\n";
    write_file(path, as_bytes(text));
    return path;
  }
  bool is_untouched() const {
    run("sync; PATH=$PATH:/usr/sbin:/sbin blockdev --flushbufs " + loop_->path());
    return fs::exists(disk_) && sha256(read_file(disk_)) == digest_;
  }

  std::unique_ptr<LoopDevice> loop_;
  std::FILE* holder_ = nullptr;
};

TEST_F(Hostile, NoAttackReachesAnOriginal) {
  for (const Attack& attack : kAttacks) {
    // One name more only where it is the way: it makes the whole filesystem read-only.
    const bool linked = contains(attack.line, "$H");
    if (linked) fs::create_hard_link(disk_, folder_ / "other-name");
    const Outputs done =
        try_it("--drop " + disk_ + " diskp2 -- sh -c 'sh " + script(attack) + " : {}'");
    EXPECT_TRUE(contains(done.output, "attacking")) << attack.name << ": " << done.errors;
    ASSERT_TRUE(is_untouched()) << attack.name << "\n" << done.output << done.errors;
    if (linked) fs::remove(folder_ / "other-name");
    run("rm -rf " + disk_ + ".*");
  }
}

/// Where nothing prevents them the attacks do what they are for: the test above is not empty.
TEST_F(Hostile, TheAttacksAreReal) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  for (const Attack& attack : kAttacks) {
    if (!attack.works_outside) continue;
    fs::copy_file(disk_, folder_ / "copy", fs::copy_options::overwrite_existing);
    if (contains(attack.line, "$H")) fs::create_hard_link(disk_, folder_ / "other-name");
    const CommandResult done = run("sh " + script(attack));
    EXPECT_FALSE(is_untouched()) << attack.name << ": " << done.output;
    fs::remove(folder_ / "other-name");
    run("rm -rf " + disk_ + ".*");
    // The same inode again, with the same bytes; where it has gone everything is set up anew.
    const bool gone = !fs::exists(disk_) || contains(attack.line, "mv -f");
    if (gone) {
      TearDown();
      holder_ = nullptr;
      run("rm -rf " + (folder_ / "bound") + " " + (folder_ / "node") + " " + (folder_ / "holder") +
          " " + disk_ + " " + (folder_ / "tmp") + " " + at_);
      SetUp();
      ASSERT_FALSE(HasFatalFailure());
    } else {
      must_run("dd if=" + (folder_ / "copy") + " of=" + disk_ + " bs=1M conv=notrunc status=none");
      must_run("sync; PATH=$PATH:/usr/sbin:/sbin blockdev --flushbufs " + loop_->path());
    }
    ASSERT_TRUE(is_untouched()) << attack.name;
  }
}

/// A block device as a source: the file behind its loop device is out of reach, too.
TEST_F(Hostile, TheFileBehindALoopDevice) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const Outputs done =
      try_it("--drop disk=" + loop_->path() + " diskp2 -- sh -c 'printf X | dd of=" + disk_ +
             " conv=notrunc; : {}'");
  EXPECT_TRUE(contains(done.errors, "Read-only file system")) << done.errors;
  EXPECT_TRUE(is_untouched());
}

/// Every file that bytes come from, and the overlay.
TEST_F(World, BackingFilesAndOverlaysAreOutOfReach) {
  const std::string image = folder_ / "image.qcow2";
  must_run("qemu-img create -q -f qcow2 -F raw -b " + disk_ + " " + image);
  const Outputs done =
      try_it("--keep " + ov_ + " " + image + " imagep2 -- sh -c 'for f in " + disk_ + " " + image +
             " " + ov_ + "/*.qcow2; do printf X | dd of=$f conv=notrunc; done; : {}'");
  std::size_t refused = 0;
  for (std::size_t at = 0;
       (at = done.errors.find("Read-only file system", at)) != std::string::npos; ++at) {
    ++refused;
  }
  EXPECT_EQ(refused, 3U) << done.errors;
  untouched();
}

/// A filesystem of the host that lies on the source.
TEST_F(World, WhatIsMountedFromAnOriginalCannotBeWritten) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string image = folder_ / "fs.img";
  const std::string there = folder_ / "there";
  must_run("PATH=$PATH:/usr/sbin:/sbin; mkdir " + there + "; truncate -s 8M " + image +
           "; mke2fs -q -F -t ext4 " + image);
  const LoopDevice loop(image);
  if (!loop || run("mount " + loop.path() + " " + there).exit_code != 0) {
    GTEST_SKIP() << "cannot mount ext4 here";
  }
  const Outputs done = try_it("--drop " + image + " fs -- sh -c 'echo x >" + there + "/x; : {}'");
  EXPECT_TRUE(contains(done.errors, "Read-only file system")) << done.errors;
  EXPECT_FALSE(fs::exists(there + "/x"));
  must_run("umount " + there);
}

}  // namespace
}  // namespace peelfs::test
