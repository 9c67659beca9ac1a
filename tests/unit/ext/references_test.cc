// What an image inside a filesystem may name, and that nothing leads out of it.
#include <filesystem>
#include <thread>

#include "ext_support.h"
#include "peelfs/error.h"

namespace peelfs::test {
namespace {

class ReferencesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("mke2fs") || !have_program("debugfs")) {
      GTEST_SKIP() << "needs mke2fs and debugfs (e2fsprogs)";
    }
    namespace fs = std::filesystem;
    const fs::path tree = directory_ / "tree";
    fs::create_directories(tree / "images/base");
    fs::create_directories(tree / "etc");
    write_file(tree / "images/top.qcow2", pattern(70'000, 1));
    write_file(tree / "images/base/base.raw", pattern(80'000, 2));
    write_file(tree / "etc/passwd", pattern(100, 3));
    write_file(tree / "root-file", pattern(5000, 4));
    fs::create_symlink("base", tree / "images/link-to-directory");
    fs::create_symlink("../../images/base/base.raw", tree / "images/base/relative");
    fs::create_symlink("/images/base/base.raw", tree / "images/absolute");
    fs::create_symlink("loop2", tree / "images/loop");
    fs::create_symlink("loop", tree / "images/loop2");
    fs::create_symlink("self/x", tree / "images/self");
    // Longer than what fits into the inode.
    std::string long_target;
    for (int i = 0; i < 40; ++i) long_target += "./base/../";
    fs::create_symlink(long_target + "base/base.raw", tree / "images/long");
    image_ = directory_ / "image";
    ASSERT_TRUE(
        make_filesystem(image_, "16M", options_ + " -d '" + tree.string() + "' -M /srv/guests"));
  }
  std::shared_ptr<const References> references() const {
    return SeenImage(image_).at("images/top.qcow2").references;
  }
  std::string digest(const std::string& name) const {
    return sha256(*references()->open(name).device);
  }
  std::pair<Fault, std::string> failure(const std::string& name) const {
    try {
      (void)references()->open(name);
    } catch (const Error& error) {
      return {error.fault(), error.what()};
    }
    ADD_FAILURE() << name << " was opened";
    return {};
  }

  ScratchDirectory directory_;
  std::string image_;
  std::string options_ = "-t ext4";
};

TEST_F(ReferencesTest, NamesInTheSameFilesystem) {
  const std::string base = sha256(pattern(80'000, 2));
  for (const char* name :
       {"base/base.raw", "./base//base.raw", "/images/base/base.raw", "link-to-directory/base.raw",
        "base/relative", "absolute", "long", "../images/base/base.raw",
        "../../../../images/base/base.raw", "/../images/base/base.raw",
        "/srv/guests/images/base/base.raw", "link-to-directory/../base/base.raw"}) {
    EXPECT_EQ(digest(name), base) << name;
  }
  EXPECT_EQ(digest("../root-file"), sha256(pattern(5000, 4)));
  EXPECT_EQ(digest("/etc/passwd"), sha256(pattern(100, 3))) << "the guest's, never the host's";
}

TEST_F(ReferencesTest, NextLinkOfAChainCountsFromItsOwnDirectory) {
  const auto found = references()->open("link-to-directory/base.raw");
  EXPECT_EQ(found.name, "base.raw");
  EXPECT_EQ(sha256(*found.references->open("relative").device), sha256(pattern(80'000, 2)));
  EXPECT_EQ(sha256(*found.references->open("../top.qcow2").device), sha256(pattern(70'000, 1)));
}

TEST_F(ReferencesTest, WhatIsNotThereIsMissing) {
  for (const auto& [name, why] : {std::pair<std::string, std::string>{"nothing.raw", "nothing.raw"},
                                  {"", "a name that no file can have"},
                                  {std::string(5000, 'a'), "a name that no file can have"},
                                  {"base", "a directory"},
                                  {"base/", "a directory"},
                                  {"..", "a directory"},
                                  {"/", "a directory"},
                                  {"top.qcow2/x", "no directory"},
                                  {"loop", "symbolic links"},
                                  {"self", "symbolic links"},
                                  {"/etc/shadow", "shadow"},
                                  {"/srv/guests/nothing", "srv"},
                                  {"json:{}", "json"}}) {
    const auto [fault, text] = failure(name);
    EXPECT_EQ(fault, Fault::missing) << name;
    EXPECT_NE(text.find(why), std::string::npos) << text;
  }
  std::string many;
  for (int i = 0; i < 1500; ++i) many += "./";
  EXPECT_NE(failure(many + "base/base.raw").second.find("too many components"), std::string::npos);
}

TEST_F(ReferencesTest, FromManyThreads) {
  const auto shared = references();
  const std::string base = sha256(pattern(80'000, 2));
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 10; ++round) {
        EXPECT_EQ(sha256(*shared->open("long").device), base);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/// Small files and links whose contents stand in the inode.
class InlineReferences : public ReferencesTest {
 protected:
  InlineReferences() { options_ = "-t ext4 -O inline_data -I 512"; }
};

TEST_F(InlineReferences, AreReadFromTheInode) {
  EXPECT_EQ(digest("/etc/passwd"), sha256(pattern(100, 3)));
  EXPECT_EQ(digest("base/relative"), sha256(pattern(80'000, 2)));
  EXPECT_EQ(digest("long"), sha256(pattern(80'000, 2)));
  check_contract(*references()->open("/etc/passwd").device);
}

}  // namespace
}  // namespace peelfs::test
