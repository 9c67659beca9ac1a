// peelfs/images.h against the program, which goes another way to the same tree.
#include "peelfs/images.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

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

TEST_F(ImagesTest, ADirectiveSaysWhatADeviceIs) {
  peelfs::Images::Request request;
  request.sources = {disk_};
  request.directives.push_back({.device = "diskp1", .kind = "none"});
  const peelfs::Images images(std::move(request));
  ASSERT_TRUE(images.find("diskp1")->trouble);
  EXPECT_NE(images.find("diskp1")->trouble->reason.find("not looked into"), std::string::npos);
  EXPECT_TRUE(images.warnings().empty());

  peelfs::Images::Request unknown;
  unknown.sources = {disk_};
  unknown.directives.push_back({.device = "disk", .kind = "nonsense"});
  EXPECT_THROW(peelfs::Images(std::move(unknown)), Error);

  peelfs::Images::Request twice;
  twice.sources = {disk_};
  twice.directives = {{.device = "disk", .kind = "gpt"}, {.device = "disk", .kind = "mbr"}};
  EXPECT_THROW(peelfs::Images(std::move(twice)), Error);
}

TEST_F(ImagesTest, AnotherThreadEndsARun) {
  // A minute of key derivations, and a disk that is looked at behind them.
  const std::string dear = folder_ / "dear.img";
  must_run(
      "printf secret | qemu-img convert -O luks --object secret,id=s,data=opensesame "
      "-o key-secret=s,iter-time=500 -f raw " +
      (folder_ / "fs") + " " + dear);
  const auto cancel = std::make_shared<Cancel>();
  peelfs::Images::Request request;
  request.sources = {disk_, dear};
  for (int i = 0; i < 200; ++i) {
    request.keys.emplace_back("", Secret(as_bytes("wrong " + std::to_string(i))));
  }
  request.cancel = cancel;
  std::chrono::steady_clock::time_point asked;
  std::optional<peelfs::Images> images;
  {
    const std::jthread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(1000));
      asked = std::chrono::steady_clock::now();
      cancel->request();
    });
    images.emplace(std::move(request));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(8));
  EXPECT_TRUE(images->cancelled());
  ASSERT_TRUE(images->find("disk")) << "what was found so far";
  const auto locked = images->find("dear");
  ASSERT_TRUE(locked && locked->trouble);
  EXPECT_EQ(locked->trouble->state, Trouble::locked);
  EXPECT_NE(locked->trouble->reason.find("the run was cancelled"), std::string::npos);
  ASSERT_FALSE(images->warnings().empty());
  EXPECT_NE(images->warnings().back().find("the run was cancelled: "), std::string::npos);
  // It holds for what comes later, too.
  const auto refused = images->unlock("dear", Secret(as_bytes("opensesame")));
  ASSERT_TRUE(refused);
  EXPECT_NE(refused->find("cancelled"), std::string::npos) << *refused;
  EXPECT_FALSE(open({disk_}).cancelled());
}

TEST_F(ImagesTest, AVolumeKeyOpensWhatIsLocked) {
  if (!have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
  must_run("printf opensesame > " + (folder_ / "key") +
           " && cryptsetup luksDump -q --dump-volume-key --key-file " + (folder_ / "key") +
           " --volume-key-file " + (folder_ / "vk") + " " + locked_);
  const Buffer key = read_file(folder_ / "vk");
  peelfs::Images images = open({locked_});
  EXPECT_TRUE(images.unlock("locked", Secret(key))) << "it is no passphrase";
  EXPECT_EQ(images.unlock("locked", {Secret(key), KeyKind::recovery_key}),
            "locked takes a passphrase, a key file or a volume key, not a recovery key");
  EXPECT_FALSE(images.unlock("locked", {Secret(key), KeyKind::volume_key}));
  EXPECT_EQ(images.find("locked_crypt")->label, "inside");
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
