// Overlays that others may change, and mount points that others may move.
#include <sys/stat.h>

#include "cli/overlays.h"

namespace peelfs::test {
namespace {

class Shared : public Overlays {};

TEST_F(Shared, EveryVerbRefusesThemUntilTold) {
  write_through_mount();
  ::chmod(ov_.c_str(), 0777);
  const std::string digest = sha256(read_file(ov_ + "/disk.qcow2"));
  const std::vector<std::string> lines{"ls " + disk_, "diff " + disk_,   "checkpoint one",
                                       "revert one",  "commit " + disk_, "drop"};
  for (const std::string& line : lines) {
    const Outputs refused = with(line);
    EXPECT_EQ(refused.exit_code, 2) << line << refused.output;
    EXPECT_TRUE(contains(refused.errors, ov_ + " may be written by others")) << refused.errors;
  }
  const Outputs mounted = peelfs_apart("--overlay " + ov_ + " " + disk_ + " " + at_);
  EXPECT_NE(mounted.exit_code, 0);
  EXPECT_TRUE(contains(mounted.errors, "--accept-shared")) << mounted.errors;
  EXPECT_EQ(sha256(read_file(ov_ + "/disk.qcow2")), digest);
  untouched();
  for (const std::string& line : lines) {
    if (line.starts_with("commit")) continue;
    EXPECT_EQ(with(line + " --accept-shared").exit_code, 0) << line;
  }
}

TEST_F(Shared, TryKeepsNothingThere) {
  fs::create_directory(ov_);
  ::chmod(ov_.c_str(), 0777);
  const Outputs refused = peelfs_apart("try --keep " + ov_ + " " + disk_ +
                                       " diskp2 -- sh -c 'touch " + (folder_ / "ran") + "' {}");
  EXPECT_EQ(refused.exit_code, 125);
  EXPECT_FALSE(fs::exists(folder_ / "ran"));
  EXPECT_TRUE(fs::is_empty(ov_));
}

TEST_F(Shared, AnOverlayThatIsALinkIsNotFollowed) {
  write_through_mount();
  must_run("mv " + ov_ + "/disk.qcow2 " + (folder_ / "away.qcow2") + " && ln -s ../away.qcow2 " +
           ov_ + "/disk.qcow2");
  const std::string digest = sha256(read_file(folder_ / "away.qcow2"));
  for (const char* const verb : {"commit", "diff"}) {
    const Outputs refused = with(verb, disk_);
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_TRUE(contains(refused.errors, "symbolic link")) << refused.errors;
  }
  EXPECT_EQ(sha256(read_file(folder_ / "away.qcow2")), digest);
  untouched();
}

/// What happens to a mount point while the sources are opened: the mount waits for a key then,
/// which comes through a FIFO.
class MovedMountPoint : public Overlays {
 protected:
  void SetUp() override {
    Overlays::SetUp();
    if (IsSkipped()) return;
    for (const char* const name : {"real", "other"}) {
      fs::create_directories(folder_ / (std::string(name) + "/mnt"));
    }
    must_run("mkfifo " + (folder_ / "key"));
  }
  void TearDown() override {
    for (const char* const name : {"real", "other", "away"}) {
      const std::string at = folder_ / (std::string(name) + "/mnt");
      if (is_mounted(at)) peelfs("umount -l " + at);
    }
    Overlays::TearDown();
  }
  /// Mounts on a path below the folder. @param meanwhile shell commands, run in the folder
  CommandResult mount_on(const std::string& path, const std::string& meanwhile) const {
    return run("cd " + folder_.path() + " && { " PEELFS_PROGRAM " --key-file key " + disk_ + " " +
               path + " 2>&1 & } && exec 3>key && " + meanwhile +
               " && printf x >&3 && exec 3>&-; wait $!");
  }
};

TEST_F(MovedMountPoint, ADirectoryAboveThatBecomesALink) {
  const CommandResult result = mount_on("real/mnt", "mv real away && ln -s other real");
  EXPECT_NE(result.exit_code, 0) << result.output;
  EXPECT_TRUE(contains(result.output, "was moved meanwhile")) << result.output;
  EXPECT_FALSE(is_mounted(folder_ / "other/mnt"));
  EXPECT_FALSE(is_mounted(folder_ / "away/mnt"));
}

TEST_F(MovedMountPoint, TheDirectoryItselfThatBecomesALink) {
  const CommandResult result =
      mount_on("real/mnt", "rmdir real/mnt && ln -s ../other/mnt real/mnt");
  EXPECT_NE(result.exit_code, 0) << result.output;
  EXPECT_FALSE(is_mounted(folder_ / "other/mnt"));
}

TEST_F(MovedMountPoint, ALinkThatThePersonNamedAndThatLeadsElsewhereLater) {
  must_run("ln -s real " + (folder_ / "link"));
  const CommandResult result = mount_on("link/mnt", "ln -sfn other link");
  EXPECT_EQ(result.exit_code, 64) << "it is mounted, and the key opens nothing: " << result.output;
  EXPECT_FALSE(is_mounted(folder_ / "other/mnt"));
  EXPECT_TRUE(is_mounted(folder_ / "real/mnt"));
  EXPECT_EQ(peelfs("umount " + (folder_ / "real/mnt")).exit_code, 0);
}

}  // namespace
}  // namespace peelfs::test
