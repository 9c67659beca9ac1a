// Programs that make filesystems and partitions, and fio, on the device at the end of deep stacks.
#include <sys/stat.h>

#include <filesystem>

#include "writing/dice.h"
#include "writing/repairs.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

/// A device at the end of a stack.
struct Depth {
  std::string fixture, image, device;
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

/// The deepest ones; all of them in nightly runs.
std::vector<Depth> depths() {
  std::vector<Depth> list{{"variant2", "variant2", "lvg1-lvroot"},
                          {"variant3", "variant3", "gvgf-root"}};
  if (nightly()) {
    list.push_back({"variant1", "variant1", "lvhd0_cryptp2"});
    list.push_back({"qcow2onlv", "qcow2onlv", "vgq-lvq_qcow2p1"});
  }
  return list;
}

INSTANTIATE_TEST_SUITE_P(Stacks, Deep, ::testing::ValuesIn(depths()),
                         [](const auto& depth) { return depth.param.fixture; });

}  // namespace
}  // namespace peelfs::test
