// Programs that repair and make filesystems, unmodified, writing to device files of a mount: what
// they leave is what they leave on a plain copy of the device, and fsck finds nothing afterwards.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "mount/mounted.h"
#include "support/fixture_trees.h"
#include "writing/dice.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

const std::string tools = "PATH=$PATH:/usr/sbin:/sbin ";
/// Clock and random numbers of the tools stand still.
const std::string still = tools +
                          "E2FSCK_TIME=1700000000 E2FSPROGS_FAKE_TIME=1700000000 "
                          "SOURCE_DATE_EPOCH=1700000000 ";

class Repairs : public ::testing::Test {
 protected:
  void SetUp() override { NEED_MOUNTS(); }

  /// A copy of a fixture to write to. @return false when the fixture is not here
  bool take(const std::string& fixture, const std::string& image) {
    const std::string packed = fixture_image(image);
    if (packed.empty()) return false;
    source_ = folder_ / (image + ".raw");
    must_run("cp --sparse=always " + sh(packed) + " " + sh(source_) + " && chmod 600 " +
             sh(source_));
    const std::string passphrase = passphrase_of(fixture);
    if (!passphrase.empty()) {
      write_file(folder_ / "key", as_bytes(passphrase));
      keys_ = " --key-file " + sh(folder_ / "key");
    }
    return true;
  }
  /// The device's bytes, by another process that has no mount.
  std::string copy_of(const std::string& device, const std::string& name) {
    must_run(program() + " export --force" + keys_ + " " + sh(source_) + " " + sh(device) + " " +
             sh(folder_ / name));
    return folder_ / name;
  }
  std::string mount_arguments() const { return "-o rw" + keys_ + " " + sh(source_); }

  /// The same command, with {} for the device, on a plain copy and through the mount.
  /// @param expected what it must exit with, on both
  void same_on_both(const std::string& device, const std::string& command, int expected) {
    const std::string plain = copy_of(device, "plain");
    const std::string before = must_run("sha256sum < " + sh(plain));
    {
      const Mount mount(mount_arguments());
      ASSERT_TRUE(mount.mounted());
      const CommandResult ours = run(replaced(command, sh(mount / device)));
      ASSERT_EQ(ours.exit_code, expected) << command << "\n" << ours.output << mount.log();
      const CommandResult ended = mount.umount();
      ASSERT_EQ(ended.exit_code, 0) << ended.output;
    }
    const CommandResult theirs = run(replaced(command, sh(plain)));
    ASSERT_EQ(theirs.exit_code, expected) << command << "\n" << theirs.output;
    EXPECT_NE(must_run("sha256sum < " + sh(plain)), before) << "nothing was written";
    const std::string copy = copy_of(device, "ours");
    Buffer theirs_bytes = read_file(plain);
    Buffer our_bytes = read_file(copy);
    // resize2fs shortens a plain file, which a device does not let itself be.
    ASSERT_GE(theirs_bytes.size(), std::size_t{8} << 20U);
    our_bytes.resize(std::min(our_bytes.size(), theirs_bytes.size()));
    mask_superblocks(theirs_bytes);
    mask_superblocks(our_bytes);
    ASSERT_TRUE(theirs_bytes == our_bytes)
        << command << " wrote something else at byte "
        << std::mismatch(our_bytes.begin(), our_bytes.end(), theirs_bytes.begin()).first -
               our_bytes.begin();
  }
  /// In every copy of an ext superblock: s_kbytes_written, which counts how a file takes what is
  /// flushed to it, and the checksum.
  static void mask_superblocks(Buffer& bytes) {
    for (std::size_t at = 0; at + 1024 <= bytes.size(); at += 1024) {
      if (bytes[at + 0x38] != std::byte{0x53} || bytes[at + 0x39] != std::byte{0xef}) continue;
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at + 0x178), 8, std::byte{0});
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at + 0x3fc), 4, std::byte{0});
    }
  }
  static std::string replaced(std::string command, const std::string& path) {
    for (std::size_t at = 0; (at = command.find("{}", at)) != std::string::npos;
         at += path.size()) {
      command.replace(at, 2, path);
    }
    return command;
  }

  TemporaryDirectory folder_;
  std::string source_, keys_;
};

TEST_F(Repairs, E2fsckOnADamagedExt4) {
  NEED_PROGRAM("e2fsck");
  if (!take("damagedext4", "damagedext4")) GTEST_SKIP() << "the fixture is not in this checkout";
  same_on_both("lv_crypt", still + "e2fsck -fy {}", 1);
  must_run(tools + "e2fsck -fn " + sh(copy_of("lv_crypt", "again")));
}

// It writes times and random numbers, so two runs on plain copies differ, too: what is compared is
// the exit codes and the files. One run does not suffice for this damage, on a plain copy neither.
TEST_F(Repairs, BtrfsCheckOnADamagedBtrfs) {
  NEED_PROGRAM("btrfs");
  if (!take("damagedbtrfs", "damagedbtrfs")) GTEST_SKIP() << "the fixture is not in this checkout";
  const std::string repair = tools + "btrfs check --repair --force ";
  const std::string plain = copy_of("lv_crypt", "plain");
  const std::string before = must_run("sha256sum < " + sh(plain));
  {
    const Mount mount(mount_arguments());
    ASSERT_TRUE(mount.mounted());
    for (const int expected : {1, 0}) {
      EXPECT_EQ(run(repair + sh(plain)).exit_code, expected);
      const CommandResult ours = run(repair + sh(mount / "lv_crypt"));
      EXPECT_EQ(ours.exit_code, expected) << ours.output;
    }
    const CommandResult ended = mount.umount();
    ASSERT_EQ(ended.exit_code, 0) << ended.output;
  }
  const std::string ours = copy_of("lv_crypt", "ours");
  EXPECT_NE(must_run("sha256sum < " + sh(ours)), before) << "nothing was written";
  for (const std::string& image : {plain, ours}) {
    must_run(tools + "btrfs check --readonly " + sh(image));
    fs::create_directory(image + ".files");
    // The damaged data block stays damaged: ignored, as far as it is.
    run(tools + "btrfs restore -i " + sh(image) + " " + sh(image + ".files"));
  }
  EXPECT_FALSE(fs::is_empty(ours + ".files"));
  must_run("diff -r " + sh(plain + ".files") + " " + sh(ours + ".files"));
}

TEST_F(Repairs, XfsRepairOnADamagedXfs) {
  NEED_PROGRAM("xfs_repair");
  if (!take("xfslv", "xfslv")) GTEST_SKIP() << "the fixture is not in this checkout";
  {
    // Sectors 1 and 2 (of 4096 bytes): free space and inodes of the first allocation group.
    const Mount mount(mount_arguments());
    must_run("dd status=none conv=notrunc bs=4096 seek=1 count=2 if=/dev/zero of=" +
             sh(mount / "vgxfs-xfs"));
    EXPECT_NE(run(tools + "xfs_repair -n -f " + sh(mount / "vgxfs-xfs")).exit_code, 0);
    ASSERT_EQ(mount.umount().exit_code, 0);
  }
  same_on_both("vgxfs-xfs", still + "xfs_repair -f {}", 0);
  must_run(tools + "xfs_repair -n -f " + sh(copy_of("vgxfs-xfs", "again")));
}

/// A device at the end of a stack.
struct Depth {
  std::string fixture, image, device;
  bool deepest = false;
};
void PrintTo(const Depth& depth, std::ostream* out) {
  *out << depth.device;
}

class Deep : public Repairs, public ::testing::WithParamInterface<Depth> {
 protected:
  /// Skips, with the reason, where the stack cannot be written.
  void SetUp() override {
    Repairs::SetUp();
    if (IsSkipped()) return;
    if (!nightly() && !GetParam().deepest)
      GTEST_SKIP() << "in nightly runs; the deepest are tested";
    if (!take(GetParam().fixture, GetParam().image)) {
      GTEST_SKIP() << "the fixture is not in this checkout";
    }
    const Mount mount(mount_arguments());
    struct stat status {};
    ASSERT_EQ(::stat((mount / GetParam().device).c_str(), &status), 0);
    if ((status.st_mode & S_IWUSR) == 0) GTEST_SKIP() << "this stack cannot be written yet";
  }
};

TEST_P(Deep, E2fsprogs) {
  const std::string& device = GetParam().device;
  NEED_PROGRAM("mkfs.ext4");
  same_on_both(device,
               still +
                   "mkfs.ext4 -q -F -U 11111111-2222-3333-4444-555555555555 -E "
                   "hash_seed=11111111-2222-3333-4444-555555555555,nodiscard {}",
               0);
  same_on_both(device, still + "tune2fs -L deep -c 20 {}", 0);
  same_on_both(device, still + "resize2fs -f {} 12M", 0);
  must_run(tools + "e2fsck -fn " + sh(copy_of(device, "again")));
}

TEST_P(Deep, OthersThatMake) {
  const std::string& device = GetParam().device;
  NEED_PROGRAM("mkswap");
  NEED_PROGRAM("sfdisk");
  same_on_both(device, still + "mkswap -q -U 11111111-2222-3333-4444-555555555555 {}", 0);
  same_on_both(device,
               "printf 'label: dos\\nlabel-id: 0x1234\\nsize=4M\\nsize=3M\\n' | " + still +
                   "sfdisk -q --no-reread --no-tell-kernel {}",
               0);
  same_on_both(device,
               "dd status=none conv=notrunc,fsync bs=77777 count=40 if=" + sh(program()) + " of={}",
               0);
  same_on_both(device,
               "dd status=none conv=notrunc,fsync oflag=direct bs=1M seek=2 count=4 if=" +
                   sh(program()) + " of={}",
               0);
}

TEST_P(Deep, MkfsBtrfsAndXfs) {
  const std::string& device = GetParam().device;
  NEED_PROGRAM("mkfs.btrfs");
  {
    const Mount mount(mount_arguments());
    const std::string path = sh(mount / device);
    // Small devices take a mixed btrfs; mkfs.xfs wants 300 MB but for its own tests.
    must_run(tools + "mkfs.btrfs -q -f -M " + path);
    must_run(tools + "btrfs check --force " + path);
    ASSERT_EQ(mount.umount().exit_code, 0);
  }
  must_run(tools + "btrfs check " + sh(copy_of(device, "btrfs")));
  NEED_PROGRAM("mkfs.xfs");
  {
    const Mount mount(mount_arguments());
    must_run(tools + "TEST_DIR=1 TEST_DEV=1 QA_CHECK_FS=1 mkfs.xfs -q -f " + sh(mount / device));
    ASSERT_EQ(mount.umount().exit_code, 0);
  }
  must_run(tools + "xfs_repair -n -f -o force_geometry " + sh(copy_of(device, "xfs")));
}

TEST_P(Deep, FioVerifies) {
  NEED_PROGRAM("fio");
  const Mount mount(mount_arguments());
  const std::uint64_t each = fs::file_size(mount / GetParam().device) / 4 >> 20U << 20U;
  for (const char* const direct : {"0", "1"}) {
    const CommandResult result =
        run("cd " + sh(folder_.path()) +
            " && fio --name=deep --filename=" + sh(mount / GetParam().device) +
            " --rw=randwrite --bsrange=4k-1m --numjobs=4 --size=" + std::to_string(each) +
            " --offset_increment=" + std::to_string(each) + " --direct=" + direct +
            " --ioengine=psync --verify=crc32c --do_verify=1 "
            "--verify_fatal=1 --end_fsync=1 --randseed=" +
            std::to_string(seed_for("fio") % 100'000) + (nightly() ? " --loops=10" : ""));
    ASSERT_EQ(result.exit_code, 0) << result.output;
    ASSERT_EQ(result.output.find("verify:"), std::string::npos) << result.output;
  }
  const CommandResult ended = mount.umount();
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
}

INSTANTIATE_TEST_SUITE_P(Stacks, Deep,
                         ::testing::Values(Depth{"variant1", "variant1", "lvhd0_cryptp2"},
                                           Depth{"qcow2onlv", "qcow2onlv", "vgq-lvq_qcow2p1"},
                                           Depth{"variant2", "variant2", "lvg1-lvroot", true},
                                           Depth{"variant3", "variant3", "gvgf-root", true}),
                         [](const auto& depth) { return depth.param.fixture; });

}  // namespace
}  // namespace peelfs::test
