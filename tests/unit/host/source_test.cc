#include "host/source.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "support/support.h"

namespace peelfs {
namespace {

TEST(ParseSource, Forms) {
  EXPECT_EQ(parse_source("disk.img").path, "disk.img");
  EXPECT_EQ(parse_source("vm1=/dev/vg/vm1").name, "vm1");
  EXPECT_EQ(parse_source("vm1=/dev/vg/vm1").path, "/dev/vg/vm1");
  EXPECT_TRUE(parse_source("raw:disk.img").raw);
  EXPECT_TRUE(parse_source("vm1=raw:disk.img").raw);
  EXPECT_EQ(parse_source("raw:vm1=disk.img").name, "vm1");
  EXPECT_EQ(parse_source("/a=b").path, "/a=b");
  EXPECT_EQ(parse_source("./raw:x").path, "./raw:x");
  EXPECT_EQ(parse_source("dir/a=b").path, "dir/a=b") << "a name holds no slash";
  EXPECT_THROW((void)parse_source("=disk.img"), Error);
  EXPECT_THROW((void)parse_source("vm1="), Error);
  EXPECT_THROW((void)parse_source(""), Error);
}

TEST(ImageSuffix, KnownOnesGo) {
  EXPECT_EQ(strip_image_suffix("os43.qcow2"), "os43");
  EXPECT_EQ(strip_image_suffix("OS.IMG"), "OS");
  EXPECT_EQ(strip_image_suffix("archive.tar"), "archive.tar");
  EXPECT_EQ(strip_image_suffix(".img"), ".img") << "a name must remain";
  EXPECT_TRUE(has_image_suffix("a.vmdk"));
  EXPECT_FALSE(has_image_suffix("img"));
}

class Sources : public ::testing::Test {
 protected:
  std::string make(const std::string& name, std::size_t size = 4096) {
    const std::string path = directory_ / name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    test::write_file(path, test::pattern(size, 1));
    return path;
  }
  static OpenedSources open(const std::vector<SourceSpec>& specs) {
    return open_sources(specs, {});
  }
  test::TemporaryDirectory directory_;
};

TEST_F(Sources, NameAndStem) {
  const auto opened = open({{make("os43.qcow2"), "", false}, {make("b.img"), "vm", true}});
  ASSERT_EQ(opened.sources.size(), 2U);
  EXPECT_EQ(opened.sources[0].name, "os43.qcow2");
  EXPECT_EQ(opened.sources[0].stem, "os43");
  EXPECT_EQ(opened.sources[1].stem, "vm");
  EXPECT_TRUE(opened.sources[1].raw);
}

TEST_F(Sources, OneFileTwiceIsOpenedOnce) {
  const std::string path = make("a.img");
  std::filesystem::create_symlink(path, directory_ / "b.img");
  const auto opened = open({{path, "", false}, {directory_ / "b.img", "", false}});
  EXPECT_EQ(opened.sources.size(), 1U);
  ASSERT_EQ(opened.failures.size(), 1U);
  EXPECT_NE(std::string(opened.failures[0].error.what()).find("same file"), std::string::npos);
}

TEST_F(Sources, WhatCannotBeOpenedIsSaid) {
  mkfifo((directory_ / "fifo").c_str(), 0600);
  const auto opened = open({{directory_ / "absent.img", "", false},
                            {directory_ / "fifo", "", false},
                            {"/dev/null", "", false},
                            {make("good.img"), "", false}});
  EXPECT_EQ(opened.sources.size(), 1U);
  ASSERT_EQ(opened.failures.size(), 3U);
  EXPECT_EQ(opened.failures[0].error.fault(), Fault::missing);
  EXPECT_NE(std::string(opened.failures[1].error.what()).find("a FIFO"), std::string::npos);
  EXPECT_NE(std::string(opened.failures[2].error.what()).find("character device"),
            std::string::npos);
}

TEST_F(Sources, DirectoryStandsForItsImages) {
  make("d/b.img");
  make("d/a.qcow2");
  make("d/notes.txt");
  make("d/.hidden.img");
  make("d/sub/c.img");
  Buffer luks(4096);
  std::copy_n(as_bytes("LUKS\xba\xbe").data(), 6, luks.data());
  test::write_file(directory_ / "d/nosuffix", luks);
  const auto opened = open({{directory_ / "d", "", false}});
  ASSERT_EQ(opened.sources.size(), 3U);
  EXPECT_EQ(opened.sources[0].name, "a.qcow2");
  EXPECT_EQ(opened.sources[1].name, "b.img");
  EXPECT_EQ(opened.sources[2].name, "nosuffix");
  std::filesystem::create_directory(directory_ / "empty");
  EXPECT_EQ(open({{directory_ / "empty", "", false}}).failures.size(), 1U);
  EXPECT_EQ(open({{directory_ / "d", "name", false}}).failures.size(), 1U);
}

TEST_F(Sources, AFileThatShrinksIsAnErrorNeverZeroes) {
  const std::string path = make("a.img", 1 << 20);
  const DevicePtr device = test::file_device(path);
  ASSERT_EQ(truncate(path.c_str(), 4096), 0);
  EXPECT_NO_THROW((void)read_bytes(*device, 0, 4096));
  EXPECT_THROW((void)read_bytes(*device, 4000, 200), Error);
  EXPECT_THROW((void)read_bytes(*device, 500'000, 1), Error);
  EXPECT_TRUE(block_status(*device, 500'000, 10).data);
}

TEST_F(Sources, ChangedIsSeen) {
  const std::string path = make("a.img");
  const auto file = HostFile::open(path);
  EXPECT_FALSE(file->changed());
  test::write_file(path, test::pattern(8192, 2));
  EXPECT_TRUE(file->changed());
}

// --- what an image may name ---

class HostReferences : public Sources {
 protected:
  std::string open_named(const std::string& name, const std::vector<std::string>& allowed = {}) {
    std::filesystem::create_directories(directory_ / "images");
    return make_host_references(directory_ / "images", allowed)->open(name).name;
  }
  Fault fault_of(const std::string& name) {
    try {
      (void)open_named(name);
    } catch (const Error& error) {
      message_ = error.what();
      return error.fault();
    }
    ADD_FAILURE() << name << " was opened";
    return Fault::usage;
  }
  std::string message_;
};

TEST_F(HostReferences, BesideAndBelowIsFine) {
  make("images/base.img");
  make("images/sub/base.img");
  EXPECT_NO_THROW(open_named("base.img"));
  EXPECT_NO_THROW(open_named("sub/base.img"));
  EXPECT_NO_THROW(open_named("sub/../base.img"));
  EXPECT_NO_THROW(open_named(directory_ / "images/base.img"))
      << "an absolute name of the same file";
}

TEST_F(HostReferences, OutsideIsRefusedWithAdvice) {
  make("secret");
  make("images/base.img");
  EXPECT_EQ(fault_of("../secret"), Fault::denied);
  EXPECT_NE(message_.find("--allow-reference"), std::string::npos) << message_;
  EXPECT_EQ(fault_of("/etc/passwd"), Fault::denied);
  EXPECT_EQ(fault_of("sub/../../secret"), Fault::missing) << "sub does not exist";
  std::filesystem::create_symlink("/etc/passwd", directory_ / "images/link");
  EXPECT_EQ(fault_of("link"), Fault::denied);
  std::filesystem::create_symlink("../secret", directory_ / "images/link2");
  EXPECT_EQ(fault_of("link2"), Fault::denied);
  EXPECT_EQ(fault_of("absent"), Fault::missing);
  EXPECT_EQ(fault_of(""), Fault::damaged);
}

TEST_F(HostReferences, OnlyRegularFiles) {
  std::filesystem::create_directories(directory_ / "images/sub");
  mkfifo((directory_ / "images/fifo").c_str(), 0600);
  EXPECT_EQ(fault_of("sub"), Fault::denied);
  EXPECT_EQ(fault_of("fifo"), Fault::denied);
}

TEST_F(HostReferences, AllowedByName) {
  const std::string secret = make("elsewhere/base.img");
  EXPECT_NO_THROW(open_named("../elsewhere/base.img", {secret}));
  EXPECT_NO_THROW(open_named(secret, {directory_ / "elsewhere"}));
  EXPECT_THROW((void)open_named("/etc/passwd", {secret}), Error);
  EXPECT_THROW((void)make_host_references("", std::vector<std::string>{directory_ / "absent"}),
               Error);
}

TEST_F(HostReferences, ChainsStayBeneathTheNamedDirectory) {
  make("images/sub/overlay");
  make("images/base.img");
  make("secret");
  const auto first = make_host_references(directory_ / "images", {})->open("sub/overlay");
  EXPECT_NO_THROW((void)first.references->open("../base.img"));
  EXPECT_THROW((void)first.references->open("../../secret"), Error);
}

TEST_F(HostReferences, ABlockDeviceAllowsNone) {
  EXPECT_THROW((void)make_host_references("", {})->open("base.img"), Error);
}

}  // namespace
}  // namespace peelfs
