// Damaged filesystems, repaired by their own tools on device files: in place, in the overlay of a
// mount, and by `peelfs try`.
#include <filesystem>

#include "writing/dice.h"
#include "writing/repairs.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

class DamagedFilesystem : public Repairs, public ::testing::WithParamInterface<int> {
 protected:
  void SetUp() override {
    Repairs::SetUp();
    way_ = static_cast<Way>(GetParam());
  }
  /// Repairs, with the source untouched unless it is in place; a mount's overlay is committed then.
  void repair(const std::string& device, const std::vector<std::string>& commands,
              const std::vector<int>& expected) {
    const std::string before = must_run("sha256sum < " + sh(source_));
    same_on_both(device, commands, expected);
    const std::string after = must_run("sha256sum < " + sh(source_));
    if (way_ == Way::in_place) {
      EXPECT_NE(after, before);
      return;
    }
    EXPECT_EQ(after, before) << "the source was changed";
    if (way_ == Way::tried) return;
    must_run(program() + " commit -q --overlay " + sh(overlays_) + " " + sh(source_));
    ASSERT_TRUE(fs::is_empty(overlays_));
    must_run("cmp " + sh(copy_of(device, "committed")) + " " + sh(folder_ / "ours"));
  }
};

class DamagedExt4 : public DamagedFilesystem {};
class DamagedBtrfs : public DamagedFilesystem {};
class DamagedXfs : public DamagedFilesystem {};

TEST_P(DamagedExt4, IsRepaired) {
  NEED_PROGRAM("e2fsck");
  if (!take("damagedext4", "damagedext4")) GTEST_SKIP() << "the fixture is not in this checkout";
  repair("lv_crypt", {still + "e2fsck -fy {}"}, {1});
  must_run(tools + "e2fsck -fn " + sh(copy_of("lv_crypt", "again")));
}

// One run does not suffice for this damage, on a plain copy neither.
TEST_P(DamagedBtrfs, IsRepaired) {
  NEED_PROGRAM("btrfs");
  if (!take("damagedbtrfs", "damagedbtrfs")) GTEST_SKIP() << "the fixture is not in this checkout";
  const std::string command = still + "btrfs check --repair --force {}";
  repair("lv_crypt", {command, command}, {1, 0});
  const std::string image = copy_of("lv_crypt", "again");
  must_run(tools + "btrfs check --readonly " + sh(image));
  fs::create_directory(image + ".files");
  // The damaged data block stays damaged: ignored, as far as it is.
  run(tools + "btrfs restore -i " + sh(image) + " " + sh(image + ".files"));
  EXPECT_FALSE(fs::is_empty(image + ".files"));
}

TEST_P(DamagedXfs, IsRepaired) {
  NEED_PROGRAM("xfs_repair");
  if (!take("xfslv", "xfslv")) GTEST_SKIP() << "the fixture is not in this checkout";
  {
    // Sectors 1 and 2 (of 4096 bytes): free space and inodes of the first allocation group.
    const Mount mount("-o rw " + sh(source_));
    must_run("dd status=none conv=notrunc bs=4096 seek=1 count=2 if=/dev/zero of=" +
             sh(mount / "vgxfs-xfs"));
    EXPECT_NE(run(tools + "xfs_repair -n -f " + sh(mount / "vgxfs-xfs")).exit_code, 0);
    ASSERT_EQ(mount.umount().exit_code, 0);
  }
  repair("vgxfs-xfs", {still + "xfs_repair -f {}"}, {0});
  must_run(tools + "xfs_repair -n -f " + sh(copy_of("vgxfs-xfs", "again")));
}

std::string name_of(const ::testing::TestParamInfo<int>& info) {
  return info.param == 0 ? "InPlace" : info.param == 1 ? "InAnOverlay" : "ByTry";
}
/// Large ones take long: of these all ways are tried in nightly runs only.
auto ways(const std::vector<int>& normally) {
  return ::testing::ValuesIn(nightly() ? std::vector<int>{0, 1, 2} : normally);
}
INSTANTIATE_TEST_SUITE_P(Every, DamagedExt4, ways({0, 1, 2}), name_of);
INSTANTIATE_TEST_SUITE_P(Some, DamagedBtrfs, ways({0, 2}), name_of);
INSTANTIATE_TEST_SUITE_P(Some, DamagedXfs, ways({0}), name_of);

}  // namespace
}  // namespace peelfs::test
