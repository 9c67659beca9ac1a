// peelfs/images.h against the program, which goes another way to the same tree.
#include "peelfs/images.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

class ImagesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* const program : {"sfdisk", "mke2fs", "qemu-img"}) {
      if (!have_program(program)) GTEST_SKIP() << program << " is not installed";
    }
    must_run("truncate -s 24M " + disk_ +
             " && printf 'label: dos\nsize=8M, type=83\ntype=83\n' | sfdisk -q " + disk_);
    must_run("truncate -s 8M " + (folder_ / "fs") + " && mke2fs -q -F -L inside " +
             (folder_ / "fs") + " && dd if=" + (folder_ / "fs") + " of=" + disk_ +
             " bs=1M seek=1 conv=notrunc status=none");
    must_run(
        "printf secret | qemu-img convert -O luks --object secret,id=s,data=opensesame "
        "-o key-secret=s,iter-time=10 -f raw " +
        (folder_ / "fs") + " " + locked_);
  }
  peelfs::Images open(const std::vector<std::string>& sources) {
    peelfs::Images::Request request;
    request.sources = sources;
    return peelfs::Images(std::move(request));
  }
  TemporaryDirectory folder_;
  const std::string disk_ = folder_ / "disk.img";
  const std::string locked_ = folder_ / "locked.img";
};

TEST_F(ImagesTest, ShowsWhatTheProgramShows) {
  const peelfs::Images images = open({disk_});
  EXPECT_EQ(images.json(), must_run(PEELFS_PROGRAM " ls --json " + disk_));
  std::vector<std::string> names;
  for (const peelfs::Images::Device& device : images.devices()) names.push_back(device.name);
  EXPECT_EQ(names, (std::vector<std::string>{"disk", "diskp1", "diskp2"}));
  const auto part = images.find("LABEL=inside");
  ASSERT_TRUE(part);
  EXPECT_EQ(part->name, "diskp1");
  EXPECT_EQ(part->kind, "part");
  EXPECT_EQ(part->format, "ext2");
  EXPECT_EQ(part->parents, std::vector<std::string>{"disk"});
  EXPECT_EQ(sha256(*part->bytes) + "  -\n", must_run("sha256sum < " + (folder_ / "fs")));
  EXPECT_FALSE(images.find("nothing"));
}

TEST_F(ImagesTest, ADeviceOutlivesTheRun) {
  DevicePtr bytes;
  {
    const peelfs::Images images = open({disk_});
    bytes = images.find("diskp1")->bytes;
  }
  EXPECT_EQ(sha256(*bytes) + "  -\n", must_run("sha256sum < " + (folder_ / "fs")));
}

TEST_F(ImagesTest, KeysOpenWhatIsLocked) {
  peelfs::Images images = open({locked_});
  ASSERT_EQ(images.devices().size(), 1U);
  ASSERT_TRUE(images.find("locked")->trouble);
  EXPECT_EQ(images.find("locked")->trouble->state, Trouble::locked);
  EXPECT_TRUE(images.unlock("locked", Secret(as_bytes("wrong"))));
  EXPECT_FALSE(images.unlock("locked", Secret(as_bytes("opensesame"))));
  EXPECT_EQ(images.find("locked_crypt")->label, "inside");

  peelfs::Images::Request request;
  request.sources = {locked_};
  request.keys.emplace_back("", Secret(as_bytes("opensesame")));
  EXPECT_TRUE(peelfs::Images(std::move(request)).find("locked_crypt"));
}

TEST_F(ImagesTest, FailuresAreErrorsOrWarnings) {
  EXPECT_THROW(open({}), Error);
  EXPECT_THROW(open({folder_ / "absent.img"}), Error);
  const peelfs::Images images = open({disk_, folder_ / "absent.img"});
  ASSERT_EQ(images.warnings().size(), 1U);
  EXPECT_NE(images.warnings().front().find("absent.img"), std::string::npos);
}

TEST_F(ImagesTest, TheExampleListsAndReads) {
  const std::string shown = must_run(PEELFS_EXAMPLE " " + disk_ + " disk");
  EXPECT_NE(shown.find("diskp1 part 8388608 ext2\n"), std::string::npos) << shown;
  EXPECT_TRUE(shown.ends_with(must_run("od -An -v -tx1 -N16 " + disk_ + " | sed 's/^ //; s/$/ /'")))
      << shown;
  EXPECT_EQ(run(PEELFS_EXAMPLE " " + disk_ + " absent").exit_code, 1);
}

}  // namespace
}  // namespace peelfs::test
