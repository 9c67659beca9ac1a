// Uses of a file by the host: against a tree as sysfs has it, and against real loop devices.
#include "host/in_use.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "host/below.h"
#include "host/image_lock.h"
#include "support/support.h"

namespace peelfs {
namespace {

namespace fs = std::filesystem;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

FileId block(unsigned number) {
  return {true, makedev(8, number), 0};
}
FileId loop(unsigned number) {
  return {true, makedev(7, number), 0};
}
FileId file(ino_t inode) {
  return {false, makedev(254, 0), inode};
}

/// A host that exists in a directory and in three maps.
class FakeHost : public HostView {
 public:
  std::vector<BlockNode> blocks() const override { return read_block_table(folder_.path()); }
  std::vector<MountEntry> mounts() const override { return read_mounts(folder_ / "mountinfo"); }
  std::string swaps() const override { return swaps_text; }
  std::optional<FileId> identity(const std::string& path) const override {
    const auto found = paths.find(path);
    return found == paths.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<FileId> backing(const BlockNode& node) const override {
    if (hanging.contains(node.name)) ADD_FAILURE() << node.name << " must not be asked";
    return identity(node.backing_file);
  }
  std::vector<std::string> filesystem_members(const BlockNode& node) const override {
    return std::find(members.begin(), members.end(), node.name) == members.end()
               ? std::vector<std::string>()
               : members;
  }
  bool has_open(pid_t process, const FileId& wanted) const override {
    const auto found = open.find(process);
    return found != open.end() && found->second == wanted;
  }

  /// A device, with its folder where sysfs has it and a link where all are.
  void add(const std::string& name, const std::string& device, const std::string& disk = "") {
    const std::string below = "devices/block/" + (disk.empty() ? name : disk + "/" + name);
    fs::create_directories(folder_ / (below + "/holders"));
    fs::create_directories(folder_ / "class/block");
    fs::create_symlink(fs::path("../..") / below, folder_ / ("class/block/" + name));
    set(name, "dev", device);
    set(name, "ro", "0");
    if (!disk.empty()) set(name, "partition", "1");
  }
  void set(const std::string& name, const std::string& attribute, const std::string& value) {
    const fs::path path = folder_ / ("class/block/" + name + "/" + attribute);
    fs::create_directories(path.parent_path());
    std::ofstream(path) << value << '\n';
  }
  void hold(const std::string& name, const std::string& holder) {
    fs::create_symlink("../../" + holder, folder_ / ("class/block/" + name + "/holders/" + holder));
  }
  void mount(const std::string& device, const std::string& at, const std::string& type,
             const std::string& source, const std::string& options) {
    std::ofstream(folder_ / "mountinfo", std::ios::app)
        << "36 35 " << device << " / " << at << " rw,noatime shared:1 - " << type << " " << source
        << " " << options << "\n";
  }

  std::string swaps_text = "Filename\tType\tSize\tUsed\tPriority\n";
  std::map<std::string, FileId> paths;
  std::map<pid_t, FileId> open;
  std::vector<std::string> members;
  std::map<std::string, bool> hanging;

 private:
  test::TemporaryDirectory folder_;
};

/// Disk sda with partitions 1 and 2.
class InUse : public ::testing::Test {
 protected:
  void SetUp() override {
    host_.add("sda", "8:0");
    host_.add("sda1", "8:1", "sda");
    host_.add("sda2", "8:2", "sda");
    host_.add("sdb", "8:16");
  }
  std::string uses(const FileId& of) const {
    std::string text;
    for (const HostUse& use : host_uses(of, host_)) {
      text += use.what + (use.writes ? " [writes]" : "") + " {" + use.ending + "}\n";
    }
    return text;
  }
  FakeHost host_;
};

TEST_F(InUse, NothingIsUsed) {
  EXPECT_EQ(uses(block(0)), "");
  EXPECT_EQ(uses(block(99)), "") << "a device that sysfs does not know";
  EXPECT_EQ(uses(file(7)), "");
}

TEST_F(InUse, WhatMayNotBeLookedAtMayBeTheFile) {
  const auto possible = [&](const FileTraits& traits) {
    return possible_uses(traits, host_).size();
  };
  constexpr std::uint64_t size = 1U << 20U;
  host_.add("loop3", "7:3");
  host_.set("loop3", "size", "2048");
  host_.set("loop3", "loop/backing_file", "/root/private/vm.img");
  EXPECT_EQ(possible({"vm.img", size, 1}), 1U);
  EXPECT_EQ(possible({"other.img", size, 1}), 0U) << "its only name is another";
  EXPECT_EQ(possible({"other.img", size, 2}), 1U) << "it has more names than this one";
  EXPECT_EQ(possible({"vm.img", size + 512, 1}), 1U) << "it may have grown since";
  EXPECT_EQ(possible({"vm.img", size - 512, 1}), 0U) << "the device shows more than it has";
  EXPECT_EQ(possible({"other.img", size + 512, 2}), 0U) << "another size";
  EXPECT_EQ(possible({"vm.img", size + 511, 2}), 1U) << "the device shows whole sectors";
  host_.set("loop3", "loop/backing_file", "/root/private/vm.img (deleted)");
  EXPECT_EQ(possible({"other.img", size, 1}), 1U) << "a name that is gone says nothing";
  host_.set("loop3", "loop/offset", "4096");
  EXPECT_EQ(possible({"other.img", size, 1}), 0U);
  EXPECT_EQ(possible({"other.img", size + 4096, 1}), 1U);
  host_.set("loop3", "loop/sizelimit", "1048576");
  EXPECT_EQ(possible({"other.img", 16 * size, 1}), 1U);
  host_.set("loop3", "ro", "1");
  EXPECT_EQ(possible({"other.img", 16 * size, 1}), 0U) << "it cannot write";
  host_.set("loop3", "ro", "0");
  host_.set("loop3", "ro", "1");
  host_.mount("7:3", "/mnt", "ext4", "/dev/loop3", "ro");
  EXPECT_EQ(possible({"other.img", 16 * size, 1}), 1U) << "a mount relies on it";
  host_.set("loop3", "ro", "0");
  host_.paths["/root/private/vm.img (deleted)"] = file(8);
  EXPECT_EQ(possible({"other.img", 16 * size, 1}), 0U) << "it is known";
}

TEST_F(InUse, AMountedPartitionOfAReadOnlyLoopDeviceReliesOnTheFile) {
  constexpr std::uint64_t size = 1U << 20U;
  host_.add("loop4", "7:4");
  host_.set("loop4", "size", "2048");
  host_.set("loop4", "ro", "1");
  host_.set("loop4", "loop/backing_file", "/root/private/parted.img");
  EXPECT_TRUE(possible_uses({"parted.img", size, 1}, host_).empty()) << "it cannot write";
  host_.add("loop4p1", "259:1", "loop4");
  EXPECT_TRUE(possible_uses({"parted.img", size, 1}, host_).empty());
  host_.mount("259:1", "/mnt2", "ext4", "/dev/loop4p1", "ro");
  EXPECT_EQ(possible_uses({"parted.img", size, 1}, host_).size(), 1U);
}

TEST_F(InUse, ALoopDeviceOnAServerIsNotAskedForAnotherFile) {
  host_.add("loop3", "7:3");
  host_.set("loop3", "size", "2048");
  host_.set("loop3", "loop/backing_file", "/net/vm.img");
  host_.mount("0:50", "/net", "nfs4", "server:/x", "rw");
  host_.hanging["loop3"] = true;
  EXPECT_TRUE(possible_uses({"vm.img", 1U << 20U, 1, makedev(254, 0)}, host_).empty());
}

TEST_F(InUse, AMountedPartitionIsAUseOfItsDiskAndNotOfItsNeighbour) {
  host_.mount("8:1", "/boot", "ext4", "/dev/sda1", "rw,errors=remount-ro");
  const std::string expected = "/dev/sda1 is mounted at /boot [writes] {umount /boot}\n";
  EXPECT_EQ(uses(block(1)), expected);
  EXPECT_EQ(uses(block(0)), expected);
  EXPECT_EQ(uses(block(2)), "");
  EXPECT_EQ(uses(block(16)), "");
}

TEST_F(InUse, AMountedDiskIsAUseOfItsPartitions) {
  host_.mount("8:0", "/mnt\\040x", "iso9660", "/dev/sda", "ro");
  const std::string expected = "/dev/sda is mounted at /mnt x, read-only {umount '/mnt x'}\n";
  EXPECT_EQ(uses(block(0)), expected);
  EXPECT_EQ(uses(block(1)), expected);
}

TEST_F(InUse, MappingsAreFollowedUpwards) {
  host_.add("dm-0", "253:0");
  host_.set("dm-0", "dm/name", "sda2_crypt");
  host_.set("dm-0", "dm/uuid", "CRYPT-LUKS2-00-sda2_crypt");
  host_.add("dm-1", "253:1");
  host_.set("dm-1", "dm/name", "vg-root");
  host_.set("dm-1", "dm/uuid", "LVM-abc");
  host_.hold("sda2", "dm-0");
  host_.hold("dm-0", "dm-1");
  host_.mount("253:1", "/srv", "xfs", "/dev/mapper/vg-root", "rw");
  const std::string expected =
      "/dev/mapper/vg-root is mounted at /srv [writes] {umount /srv}\n"
      "/dev/mapper/vg-root is made of /dev/mapper/sda2_crypt [writes] {lvchange -an "
      "/dev/mapper/vg-root}\n"
      "/dev/mapper/sda2_crypt is made of /dev/sda2 [writes] {cryptsetup close sda2_crypt}\n";
  EXPECT_EQ(uses(block(2)), expected);
  EXPECT_EQ(uses(block(0)), expected);
  EXPECT_EQ(uses(block(1)), "");
}

TEST_F(InUse, AnArrayHoldsBothOfItsMembers) {
  host_.add("md127", "9:127");
  host_.hold("sda1", "md127");
  host_.hold("sdb", "md127");
  for (const unsigned member : {1U, 16U}) {
    EXPECT_TRUE(contains(uses(block(member)), "/dev/md127 is made of /dev/sd")) << member;
    EXPECT_TRUE(contains(uses(block(member)), "{mdadm --stop /dev/md127}")) << member;
  }
}

TEST_F(InUse, AnArrayThatHoldsItselfEndsTheSearch) {
  host_.hold("sda", "sdb");
  host_.hold("sdb", "sda");
  EXPECT_TRUE(contains(uses(block(0)), "/dev/sdb is made of /dev/sda"));
}

TEST_F(InUse, Swap) {
  host_.paths["/dev/sda1"] = block(1);
  host_.paths["/swap file"] = file(7);
  host_.swaps_text +=
      "/dev/sda1                               partition\t1048572\t0\t-2\n"
      "/swap\\040file                          file\t\t1048572\t0\t-3\n";
  EXPECT_EQ(uses(block(0)), "/dev/sda1 is swap space [writes] {swapoff /dev/sda1}\n");
  EXPECT_EQ(uses(file(7)), "/swap file is swap space [writes] {swapoff '/swap file'}\n");
  EXPECT_EQ(uses(file(8)), "");
}

TEST_F(InUse, ALoopDeviceOnAFile) {
  host_.add("loop0", "7:0");
  host_.set("loop0", "loop/backing_file", "/srv/disk.img");
  host_.paths["/srv/disk.img"] = file(7);
  EXPECT_EQ(uses(file(7)),
            "loop device /dev/loop0 shows it and may write it {losetup -d /dev/loop0}\n");
  EXPECT_EQ(uses(file(8)), "");
  host_.add("loop0p1", "259:0", "loop0");
  host_.mount("259:0", "/mnt", "ext4", "/dev/loop0p1", "rw");
  EXPECT_EQ(uses(file(7)),
            "/dev/loop0p1 is mounted at /mnt [writes] {umount /mnt}\n"
            "loop device /dev/loop0 shows it and may write it {losetup -d /dev/loop0}\n");
}

TEST_F(InUse, ALoopDeviceThatOnlyReadsCountsWithWhatIsOnIt) {
  host_.add("loop0", "7:0");
  host_.set("loop0", "ro", "1");
  host_.set("loop0", "loop/backing_file", "/srv/disk.img");
  host_.paths["/srv/disk.img"] = file(7);
  EXPECT_EQ(uses(file(7)), "");
  host_.mount("7:0", "/mnt", "squashfs", "/dev/loop0", "ro");
  EXPECT_EQ(uses(file(7)),
            "/dev/loop0 is mounted at /mnt, read-only {umount /mnt}\n"
            "loop device /dev/loop0 shows it, read-only {losetup -d /dev/loop0}\n");
}

TEST_F(InUse, TwoLoopDevicesOnOneFileSeeEachOther) {
  for (const char* const name : {"loop0", "loop1"}) {
    host_.add(name, name == std::string("loop0") ? "7:0" : "7:1");
    host_.set(name, "loop/backing_file", "/srv/disk.img");
  }
  host_.paths["/srv/disk.img"] = file(7);
  host_.mount("7:1", "/mnt", "ext4", "/dev/loop1", "rw");
  EXPECT_TRUE(contains(uses(loop(0)), "/dev/loop1 is mounted at /mnt"));
}

TEST_F(InUse, ALoopDeviceOnAPartition) {
  host_.add("loop0", "7:0");
  host_.set("loop0", "loop/backing_file", "/dev/sda1");
  host_.set("loop0", "loop/autoclear", "1");
  host_.paths["/dev/sda1"] = block(1);
  const std::string expected = "loop device /dev/loop0 shows it and may write it {}\n";
  EXPECT_EQ(uses(block(1)), expected);
  EXPECT_EQ(uses(block(0)), expected);
  EXPECT_EQ(uses(block(2)), "");
}

TEST_F(InUse, AFileBelowFuseIsOnlyLookedAtWhereItCanBeTheOne) {
  host_.add("loop0", "7:0");
  host_.set("loop0", "loop/backing_file", "/home/x/p/diskp1");
  host_.mount("254:0", "/", "ext4", "/dev/vda", "rw");
  host_.mount("0:57", "/home/x/p", "fuse.peelfs", "disk.img", "ro");
  host_.paths["/home/x/p/diskp1"] = {false, makedev(0, 57), 3};
  host_.hanging["loop0"] = true;
  EXPECT_EQ(uses(file(3)), "");
  EXPECT_EQ(uses(block(0)), "");
  host_.hanging.clear();
  EXPECT_TRUE(contains(uses({false, makedev(0, 57), 3}), "/dev/loop0"));
}

TEST_F(InUse, AnNbdServer) {
  host_.add("nbd0", "43:0");
  host_.set("nbd0", "pid", "4711");
  host_.open[4711] = file(7);
  host_.mount("43:0", "/mnt", "ext4", "/dev/nbd0", "rw");
  EXPECT_EQ(uses(file(7)),
            "/dev/nbd0 is mounted at /mnt [writes] {umount /mnt}\n"
            "/dev/nbd0 is served from it by process 4711 [writes] {qemu-nbd -d /dev/nbd0}\n");
  EXPECT_EQ(uses(file(8)), "");
}

TEST_F(InUse, BtrfsNamesOneOfItsDevices) {
  host_.members = {"sda1", "sdb"};
  host_.paths["/dev/sda1"] = block(1);
  host_.mount("0:40", "/data", "btrfs", "/dev/sda1", "rw,space_cache=v2");
  EXPECT_TRUE(contains(uses(block(1)), "mounted at /data"));
  EXPECT_TRUE(contains(uses(block(16)), "mounted at /data"));
  EXPECT_EQ(uses(block(2)), "");
}

TEST_F(InUse, WhereBytesAre) {
  host_.set("sda1", "start", "2048");
  host_.set("sda2", "start", "4096");
  host_.add("loop0", "7:0");
  host_.set("loop0", "loop/backing_file", "/dev/sda2");
  host_.set("loop0", "loop/offset", "512");
  host_.paths["/dev/sda2"] = block(2);
  const auto places = [&](const FileId& id) { return places_of(id, 1U << 20U, host_); };
  const auto upper = places(loop(0));
  ASSERT_EQ(upper.size(), 3U);
  EXPECT_EQ(upper[1].file, block(2));
  EXPECT_EQ(upper[1].offset, 512U);
  EXPECT_EQ(upper[2].file, block(0));
  EXPECT_EQ(upper[2].offset, 4096U * 512 + 512);
  EXPECT_TRUE(overlap(upper, places(block(2))));
  EXPECT_FALSE(overlap(upper, places(block(1)))) << "its neighbour ends where it begins";
  EXPECT_FALSE(overlap(upper, places(file(7))));
}

/// A real loop device, detached when this goes.
class Loop {
 public:
  Loop(const std::string& path, const std::string& options = "") {
    const test::CommandResult made =
        test::run("losetup --show -f " + options + " " + path + " 2>/dev/null");
    if (made.exit_code == 0) device_ = made.output.substr(0, made.output.find('\n'));
  }
  ~Loop() {
    if (!device_.empty()) test::run("losetup -d " + device_);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  const std::string& device() const { return device_; }

 private:
  std::string device_;
};

class RealLoop : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    if (!test::have_program("losetup")) GTEST_SKIP() << "losetup is not installed";
    test::must_run("truncate -s 16M " + disk_);
    loop_.emplace(disk_);
    if (loop_->device().empty()) GTEST_SKIP() << "no loop device to be had";
  }
  std::string refusal(const std::string& path) const {
    try {
      HostFile::open(path, HostFile::Access::read_write);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.error_number(), EBUSY);
      return error.what();
    }
  }
  test::TemporaryDirectory folder_;
  const std::string disk_ = folder_ / "disk.img";
  std::optional<Loop> loop_;
};

TEST_F(RealLoop, IsKnownByDeviceAndInode) {
  EXPECT_TRUE(contains(refusal(disk_), loop_->device() + " shows it")) << refusal(disk_);
  test::must_run("ln " + disk_ + " " + (folder_ / "other"));
  EXPECT_TRUE(contains(refusal(folder_ / "other"), loop_->device())) << "by another name";
  test::must_run("mv " + disk_ + " " + (folder_ / "moved") + " && rm " + (folder_ / "other") +
                 " && truncate -s 16M " + disk_);
  EXPECT_TRUE(contains(refusal(folder_ / "moved"), loop_->device())) << "renamed";
  EXPECT_EQ(refusal(disk_), "") << "another file under the old name";
  loop_.reset();
  EXPECT_EQ(refusal(folder_ / "moved"), "");
}

TEST_F(RealLoop, AFileWhoseNameIsGoneIsKnownByItsDescriptor) {
  const auto file = HostFile::open(disk_);
  test::must_run("rm " + disk_);
  EXPECT_EQ(host_uses(file->id()).size(), 1U);
}

TEST_F(RealLoop, OnALoopDevice) {
  const Loop upper(loop_->device());
  ASSERT_FALSE(upper.device().empty());
  EXPECT_TRUE(contains(refusal(loop_->device()), upper.device() + " shows it"));
  EXPECT_TRUE(contains(refusal(disk_), upper.device() + " shows it"));
}

TEST_F(RealLoop, LocksOfItsFileHold) {
  using Access = HostFile::Access;
  const auto why = [](const std::string& path) -> std::string {
    try {
      lock_image(*HostFile::open(path, Access::read_write), ImageUse::written);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  };
  EXPECT_EQ(why(loop_->device()), "");
  const auto relied_on = HostFile::open(disk_);
  lock_image(*relied_on, ImageUse::relied_on);
  EXPECT_TRUE(contains(why(loop_->device()), loop_->device() + " lies on " + disk_))
      << why(loop_->device());
  const Loop upper(loop_->device());
  ASSERT_FALSE(upper.device().empty());
  EXPECT_TRUE(contains(why(upper.device()), disk_ + " cannot be written")) << why(upper.device());
}

TEST_F(RealLoop, TwoPartsOfItsFileAreWrittenTogether) {
  loop_.emplace(disk_, "--sizelimit 4M");
  const Loop other(disk_, "--offset 4M");
  ASSERT_FALSE(other.device().empty());
  // As a program does that writes both: the locks of the one do not conflict with those of the
  // other.
  const auto one = HostFile::open(loop_->device());
  const auto two = HostFile::open(other.device());
  lock_image(*one, ImageUse::relied_on);
  EXPECT_NO_THROW(lock_image(*two, ImageUse::relied_on));
  ASSERT_EQ(files_below(*one).size(), 1U);
  EXPECT_EQ(files_below(*one), files_below(*two));
  EXPECT_FALSE(overlap(places_of(*one), places_of(*two)));
}

TEST_F(RealLoop, OneThatOnlyReadsIsNoUse) {
  loop_.emplace(disk_, "-r");
  EXPECT_EQ(refusal(disk_), "");
}

TEST_F(RealLoop, SwapOnIt) {
  test::must_run("mkswap " + loop_->device());
  if (test::run("swapon " + loop_->device()).exit_code != 0) GTEST_SKIP() << "no swap here";
  const std::string why = refusal(disk_);
  EXPECT_TRUE(contains(why, loop_->device() + " is swap space")) << why;
  test::must_run("swapoff " + loop_->device());
}

TEST_F(RealLoop, SwapInAFile) {
  loop_.reset();
  test::must_run("dd if=/dev/zero of=" + disk_ + " bs=1M count=16 status=none && chmod 600 " +
                 disk_ + " && mkswap " + disk_);
  if (test::run("swapon " + disk_).exit_code != 0) GTEST_SKIP() << "no swap here";
  const std::string why = refusal(disk_);
  EXPECT_TRUE(contains(why, "is swap space")) << why;
  test::must_run("swapoff " + disk_);
}

}  // namespace
}  // namespace peelfs
