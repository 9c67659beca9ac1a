// What is said of slips that only the files on the host tell: what, where, and what to do next.
#include "cli/overlays.h"

namespace peelfs::test {
namespace {

class Messages : public Overlays {};

TEST_F(Messages, ANameWithASlashIsExplained) {
  const Outputs said = peelfs_apart("ls a/b=" + disk_);
  EXPECT_EQ(said.exit_code, 2);
  EXPECT_TRUE(contains(said.errors, "a NAME before '=' holds no '/'; without it: b=" + disk_))
      << said.errors;
}

TEST_F(Messages, AMountOverFilesIsTold) {
  write_file(at_ + "/mine", Buffer(1));
  const Outputs mounted = peelfs_apart(disk_ + " " + at_);
  EXPECT_EQ(mounted.exit_code, 0);
  EXPECT_TRUE(contains(mounted.errors,
                       at_ + " is not empty: what is in it is hidden until peelfs umount " + at_))
      << mounted.errors;
}

TEST_F(Messages, AnOverlayDirectoryInNoneIsExplained) {
  const Outputs refused = peelfs_apart("--overlay " + ov_ + "/deep/er " + disk_ + " " + at_);
  EXPECT_EQ(refused.exit_code, 32);
  EXPECT_TRUE(contains(refused.errors, "mkdir -p " + ov_ + "/deep/er")) << refused.errors;
}

}  // namespace
}  // namespace peelfs::test
