// Sources that were changed without their overlays: peelfs notices it also where there is no time
// of the last change.
#include <filesystem>

#include "cli/overlays.h"

namespace peelfs::test {
namespace {

class UsedSource : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* const tool : {"sfdisk", "mke2fs", "qemu-img", "tune2fs"}) {
      if (!have_program(tool)) GTEST_SKIP() << tool << " is not installed";
    }
    SKIP_IF_CANNOT_MOUNT();
    fs::create_directory(at_);
    // So large that samples that are spread evenly miss nearly everything.
    must_run("truncate -s 1G " + disk_ + " && printf 'start=210000,size=60000\nstart=" +
             std::to_string(luks_ / 512) + ",size=40000\n' | sfdisk -q --force -X dos " + disk_);
    must_run("truncate -s 16M " + (folder_ / "plain") + " && mke2fs -q -F -t ext4 " +
             (folder_ / "plain"));
    make_luks(folder_ / "luks", folder_ / "plain", "secret");
    must_run("dd if=" + (folder_ / "luks") + " of=" + disk_ +
             " bs=512 seek=" + std::to_string(luks_ / 512) + " conv=notrunc status=none");
    must_run("mke2fs -q -F -t ext4 -E offset=" + std::to_string(ext4_) + " " + disk_ + " 29M");
    write_file(folder_ / "key", as_bytes("secret"));
  }
  void TearDown() override {
    if (is_mounted(at_)) peelfs("umount -l " + at_);
  }

  Outputs mount(const std::string& source) const {
    const Outputs mounted = peelfs_apart("--overlay " + ov_ + " --key-file " + (folder_ / "key") +
                                         " disk=" + source + " " + at_);
    if (mounted.exit_code == 0) must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
    return mounted;
  }
  /// Makes the overlay hold something: one that is empty covers the source as that is now.
  void write_into_overlay() const {
    must_run("qemu-io -f qcow2 -c 'write -P 7 4M 512' " + ov_ + "/disk.qcow2 >/dev/null");
  }
  void expect_refused(const std::string& source) const {
    write_into_overlay();
    const Outputs again = mount(source);
    EXPECT_EQ(again.exit_code, 32);
    EXPECT_TRUE(contains(again.errors, "does not belong to")) << again.errors;
    EXPECT_TRUE(contains(again.errors, "a table or a super block")) << again.errors;
  }
  /// Runs shell commands and puts the time of the last change back.
  void behind_the_back(const std::string& commands) const {
    must_run("touch -r " + disk_ + " " + (folder_ / "time") + " && { " + commands +
             "; } && touch -r " + (folder_ / "time") + " " + disk_);
  }

  /// Where the super block of the ext4 within lies.
  void write_where_it_is_encrypted() const {
    const Buffer header = read_file(folder_ / "luks");
    const std::uint64_t payload = 512ULL * ByteReader(header, "LUKS header").be32(104);
    behind_the_back("printf X | dd bs=1 conv=notrunc status=none of=" + disk_ +
                    " seek=" + std::to_string(luks_ + payload + 1024 + 100));
  }

  static constexpr std::uint64_t ext4_ = 210'000 * 512;
  static constexpr std::uint64_t luks_ = 1'700'000ULL * 512;
  TemporaryDirectory folder_;
  const std::string disk_ = folder_ / "disk.img";
  const std::string ov_ = folder_ / "ov";
  const std::string at_ = folder_ / "mnt";
};

TEST_F(UsedSource, AFilesystemInAPartition) {
  ASSERT_EQ(mount(disk_).exit_code, 0);
  ASSERT_EQ(mount(disk_).exit_code, 0) << "nothing has changed";
  behind_the_back("tune2fs -L used " + disk_ + "?offset=" + std::to_string(ext4_) + " >/dev/null");
  expect_refused(disk_);
}

TEST_F(UsedSource, WhatIsEncrypted) {
  ASSERT_EQ(mount(disk_).exit_code, 0);
  write_where_it_is_encrypted();
  expect_refused(disk_);
}

TEST_F(UsedSource, WhatAKeyOpensLater) {
  must_run(std::string(PEELFS_PROGRAM) + " --overlay " + ov_ + " " + disk_ + " " + at_ + " && " +
           PEELFS_PROGRAM + " umount " + at_);
  ASSERT_EQ(mount(disk_).exit_code, 0) << "the key opens more";
  write_where_it_is_encrypted();
  expect_refused(disk_);
}

TEST_F(UsedSource, ABlockDevice) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  SKIP_WITHOUT("losetup");
  const CommandResult made = run("losetup --show -f " + disk_);
  if (made.exit_code != 0) GTEST_SKIP() << "no loop device: " << made.output;
  const std::string loop = made.output.substr(0, made.output.find('\n'));
  EXPECT_EQ(mount(loop).exit_code, 0);
  EXPECT_EQ(mount(loop).exit_code, 0) << "nothing has changed";
  must_run("tune2fs -L used " + loop + "?offset=" + std::to_string(ext4_) + " >/dev/null && sync " +
           loop);
  expect_refused(loop);
  must_run("losetup -d " + loop);
}

}  // namespace
}  // namespace peelfs::test
