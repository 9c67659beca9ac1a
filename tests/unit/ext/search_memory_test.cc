// A filesystem that is there several times is searched once; one that differs is not taken for it.
#include <algorithm>
#include <filesystem>

#include "ext_support.h"
#include "peelfs/budget.h"
#include "peelfs/error.h"
#include "peelfs/formats.h"
#include "peelfs/layer_memory.h"

namespace peelfs::test {
namespace {

constexpr std::size_t KiB = 1024;

class SearchMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("mke2fs") || !have_program("debugfs")) {
      GTEST_SKIP() << "needs mke2fs and debugfs (e2fsprogs)";
    }
    std::filesystem::create_directories(tree_ / "images");
    write_file(tree_ / "images/os43.qcow2", pattern(64 * KiB, 1));
    write_file(tree_ / "images/data.img", pattern(100 * KiB, 2));
    write_file(tree_ / "images/none", pattern(100 * KiB, 3));
    write_file(tree_ / "images/later", Buffer(2048 * KiB));
    ASSERT_TRUE(make_filesystem(image_, "64M", "-t ext4 -d '" + tree_.string() + "'"));
    std::filesystem::copy_file(image_, copy_);
  }

  Opened open(const DevicePtr& device) {
    const Identity identity;
    const auto claim = ext_probe({*device, identity});
    Member member;
    member.device = device;
    member.claim = &*claim;
    const std::vector<Member> members{member};
    return ext_open({members, keys_, limits_, nullptr, 0, &budget_, &memory_, &standard_formats()});
  }
  static std::string shown(const Opened& opened) {
    std::string text;
    for (const Inner& inner : opened.devices)
      text += inner.name + " " + sha256(*inner.device) + "\n";
    return text;
  }
  std::uint64_t used() { return limits_.run_files - budget_.left(Budget::Kind::files); }
  void change(const std::string& commands) const {
    must_run("printf '" + commands + "' | PATH=$PATH:/sbin debugfs -w -f - " + copy_ + " 2>&1");
  }

  const ScratchDirectory directory_;
  const std::filesystem::path tree_ = directory_ / "tree";
  const std::string image_ = directory_ / "image", copy_ = directory_ / "copy";
  KeyRing keys_;
  Limits limits_;
  Budget budget_{limits_};
  LayerMemory memory_;
};

TEST_F(SearchMemory, TheSameIsSearchedOnce) {
  const Opened first = open(file_device(image_));
  ASSERT_EQ(first.devices.size(), 2U);
  const std::uint64_t once = used();
  EXPECT_GT(once, 4U);
  for (int i = 0; i < 20; ++i) {
    const DevicePtr again = file_device(i % 2 == 0 ? image_ : copy_);
    const Opened opened = open(again);
    EXPECT_EQ(shown(opened), shown(first));
    EXPECT_EQ(opened.devices.front().path, first.devices.front().path);
    EXPECT_NE(opened.devices.front().references, nullptr);
  }
  EXPECT_EQ(used(), once) << "and counted once";
}

TEST_F(SearchMemory, TheContentsOfImagesAreThoseOfTheirOwnCopy) {
  const Opened first = open(file_device(image_));
  // Only data of an image changes, which the search does not look at.
  Buffer bytes = read_file(copy_);
  const Buffer data = pattern(100 * KiB, 2);
  const auto at =
      std::search(bytes.begin(), bytes.end(), data.begin() + 16384, data.begin() + 20480);
  ASSERT_NE(at, bytes.end());
  *at ^= std::byte{1};
  write_file(copy_, bytes);
  const std::uint64_t once = used();
  const Opened second = open(file_device(copy_));
  EXPECT_EQ(used(), once);
  ASSERT_EQ(second.devices.size(), 2U);
  EXPECT_NE(shown(second), shown(first));
  EXPECT_EQ(sha256(*second.devices[1].device), sha256(*first.devices[1].device));
}

TEST_F(SearchMemory, AnotherDirectoryIsSearched) {
  (void)open(file_device(image_));
  const std::uint64_t once = used();
  change("ln /images/none /images/new.img\\nrm /images/data.img\\n");
  const Opened second = open(file_device(copy_));
  EXPECT_GT(used(), once);
  std::string names;
  for (const Inner& inner : second.devices) names += inner.name + " ";
  EXPECT_EQ(names, "new.img os43.qcow2 ");
}

TEST_F(SearchMemory, AFileThatHasBecomeAnImageIsFound) {
  (void)open(file_device(image_));
  // The same directories and inodes; the first bytes of a file alone make it an image.
  Buffer bytes = read_file(copy_);
  const Buffer head = pattern(100 * KiB, 3);
  const auto at = std::search(bytes.begin(), bytes.end(), head.begin(), head.begin() + 4096);
  ASSERT_NE(at, bytes.end());
  std::copy_n(as_bytes("QFI\xfb").begin(), 4, at);
  write_file(copy_, bytes);
  EXPECT_EQ(open(file_device(copy_)).devices.size(), 3U);
}

TEST_F(SearchMemory, TheRunsBudgetEndsTheSearchAndSaysSoOnce) {
  limits_.run_files = 3;
  Budget small(limits_);
  const DevicePtr device = file_device(image_);
  for (int i = 0; i < 3; ++i) {
    const Identity identity;
    const auto claim = ext_probe({*device, identity});
    Member member;
    member.device = device;
    member.claim = &*claim;
    const std::vector<Member> members{member};
    const Opened opened =
        ext_open({members, keys_, limits_, nullptr, 0, &small, &memory_, &standard_formats()});
    ASSERT_TRUE(opened.trouble);
    EXPECT_EQ(opened.trouble->state, Trouble::note);
    EXPECT_NE(opened.trouble->reason.find("not searched further"), std::string::npos);
  }
  ASSERT_EQ(small.endings().size(), 1U);
  EXPECT_NE(small.endings().front().find("after 3 files in all"), std::string::npos);
  EXPECT_NE(small.endings().front().find("and 2 more left out"), std::string::npos);
}

}  // namespace
}  // namespace peelfs::test
