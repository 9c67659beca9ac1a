// `try` and the originals: a filesystem on several devices may be damaged in any way, and its
// originals may be visible on the host in any way. They stay as they are, and the repair is in the
// overlay.
#include "cli/overlays.h"
#include "try/loop_device.h"
#include "try/several_devices.h"

namespace peelfs::test {
namespace {

/// The user who runs peelfs, and the sources.
struct Way {
  const char* name;
  bool ordinary_user, block_devices;
};

class Originals : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    SKIP_IF_CANNOT_MOUNT();
    SKIP_WITHOUT("qemu-img");
    const bool root = ::geteuid() == 0;
    if (!root && (GetParam().ordinary_user || GetParam().block_devices)) {
      GTEST_SKIP() << "needs root, for loop devices or to be somebody else";
    }
    if (GetParam().ordinary_user) SKIP_WITHOUT("setpriv");
  }
  /// Both images are visible as block devices, if this is root; then peelfs runs, with its overlay
  /// in keep.
  Outputs try_it(const std::string& name, const std::string& command) {
    const LoopDevice first(one_);
    const LoopDevice second(two_);
    if (::geteuid() == 0 && (!first || !second)) {
      ADD_FAILURE() << "no loop devices";
      return {};
    }
    std::string sources = one_ + " " + two_;
    if (GetParam().block_devices) sources = "one=" + first.path() + " two=" + second.path();
    std::string start = "TMPDIR=" + folder_.path() + " ";
    if (GetParam().ordinary_user) {
      must_run("chown -R 65534:65534 " + folder_.path());
      start += "setpriv --reuid=65534 --regid=65534 --clear-groups ";
    }
    const std::string line = start + PEELFS_PROGRAM " try --keep " + keep_ + " " + sources + " " +
                             name + " -- " + command;
    const CommandResult done = run(line + " 2>" + (folder_ / "errors"));
    Outputs outputs{done.exit_code, done.output, run("cat " + (folder_ / "errors")).output};
    must_run("sync " + one_ + " " + two_);
    // While there still are the devices that the overlays lie on.
    for (const char* const shown : {"one", "two"}) {
      must_run("qemu-img convert -O raw " + keep_ + "/" + shown + ".qcow2 " + flat(shown));
    }
    return outputs;
  }
  void remember() { before_ = {sha256(read_file(one_)), sha256(read_file(two_))}; }
  void expect_untouched() const {
    EXPECT_EQ(sha256(read_file(one_)), before_[0]) << "the first original";
    EXPECT_EQ(sha256(read_file(two_)), before_[1]) << "the second original";
  }
  /// What an overlay shows, as a file.
  std::string flat(const std::string& name) const { return (folder_ / name) + ".flat"; }

  const TemporaryDirectory folder_;
  const std::string one_ = folder_ / "one.img";
  const std::string two_ = folder_ / "two.img";
  const std::string keep_ = folder_ / "keep";
  std::vector<std::string> before_;
};

TEST_P(Originals, ABtrfsThatHasLostItsPrimarySuperblock) {
  SKIP_WITHOUT("mkfs.btrfs");
  if (const std::string why = make_broken_btrfs(one_, two_); !why.empty()) GTEST_SKIP() << why;
  remember();
  const Outputs done = try_it("one", "btrfs check -s 1 --repair --force {}");
  EXPECT_EQ(done.exit_code, 0) << done.output << done.errors;
  EXPECT_FALSE(contains(done.output + done.errors, "missing")) << done.output << done.errors;
  expect_untouched();
  const std::string one = flat("one");
  const std::string two = flat("two");
  // Both members were written: by their generation, the repair has been through both.
  must_run("printf '<device DEVNO=\"0x0\" TIME=\"1\" TYPE=\"btrfs\">%s</device>\\n' " + one + " " +
           two + " >" + (folder_ / "list"));
  EXPECT_NE(sha256(read_file(two)), before_[1]) << "the overlay of the second device";
  if (::geteuid() == 0) {
    const CommandResult check = run("PATH=$PATH:/usr/sbin BLKID_FILE=" + (folder_ / "list") +
                                    " btrfs check -s 1 --readonly --force " + one);
    EXPECT_EQ(check.exit_code, 0) << check.output;
  }
}

TEST_P(Originals, AnExt4WhoseJournalIsElsewhere) {
  SKIP_WITHOUT("debugfs");
  SKIP_WITHOUT("e2fsck");
  SKIP_WITHOUT("python3");
  make_ext4_with_journal(one_, two_, folder_ / "scratch");
  remember();
  ASSERT_EQ(files_in_ext4(one_), 0) << "they are in the journal only";
  const Outputs done = try_it("one", "e2fsck -fy {}");
  EXPECT_LE(done.exit_code, 1) << done.output << done.errors;
  EXPECT_TRUE(contains(done.output + done.errors, "recovering journal"))
      << done.output << done.errors;
  expect_untouched();
  const std::string one = flat("one");
  EXPECT_EQ(files_in_ext4(one), 50);
  const CommandResult check =
      run("PATH=$PATH:/usr/sbin:/sbin e2fsck -fn -j " + flat("two") + " " + one);
  EXPECT_EQ(check.exit_code, 0) << check.output;
}

INSTANTIATE_TEST_SUITE_P(Ways, Originals,
                         ::testing::Values(Way{"Files", false, false},
                                           Way{"BlockDevices", false, true},
                                           Way{"FilesOfAnOrdinaryUser", true, false},
                                           Way{"BlockDevicesForAnOrdinaryUser", true, true}),
                         [](const auto& way) { return std::string(way.param.name); });

}  // namespace
}  // namespace peelfs::test
