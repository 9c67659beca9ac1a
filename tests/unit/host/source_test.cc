#include "host/source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "peelfs/formats.h"
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
  EXPECT_EQ(standard_formats().strip_image_suffix("os43.qcow2"), "os43");
  EXPECT_EQ(standard_formats().strip_image_suffix("OS.IMG"), "OS");
  EXPECT_EQ(standard_formats().strip_image_suffix("archive.tar"), "archive.tar");
  EXPECT_EQ(standard_formats().strip_image_suffix(".img"), ".img") << "a name must remain";
  EXPECT_TRUE(standard_formats().has_image_suffix("a.vmdk"));
  EXPECT_FALSE(standard_formats().has_image_suffix("img"));
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
    return open_sources(specs, {}, standard_formats());
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
  using Why = LeftOutEntry::Why;
  std::vector<std::pair<std::string, Why>> left_out;
  for (const LeftOutEntry& one : opened.left_out) {
    left_out.emplace_back(std::filesystem::path(one.path).filename(), one.why);
  }
  EXPECT_EQ(left_out, (std::vector<std::pair<std::string, Why>>{{".hidden.img", Why::hidden},
                                                                {"notes.txt", Why::no_image},
                                                                {"sub", Why::directory}}));
  std::filesystem::create_directory(directory_ / "empty");
  EXPECT_EQ(open({{directory_ / "empty", "", false}}).failures.size(), 1U);
  EXPECT_EQ(open({{directory_ / "d", "name", false}}).failures.size(), 1U);
}

TEST_F(Sources, NothingInADirectoryIsFollowed) {
  const std::string secret = make("secret.img");
  make("d/a.img");
  std::filesystem::create_symlink(secret, directory_ / "d/link.img");
  std::filesystem::create_symlink("a.img", directory_ / "d/within.img");
  std::filesystem::create_symlink("nowhere", directory_ / "d/dangling.img");
  std::filesystem::create_symlink("/dev", directory_ / "d/devices.img");
  ASSERT_EQ(mkfifo((directory_ / "d/fifo.img").c_str(), 0600), 0);
  const auto opened = open({{directory_ / "d", "", false}});
  ASSERT_EQ(opened.sources.size(), 1U);
  EXPECT_EQ(opened.sources[0].name, "a.img");
  EXPECT_TRUE(opened.sources[0].from_directory);
  EXPECT_TRUE(opened.failures.empty());
  std::size_t links = 0;
  for (const LeftOutEntry& one : opened.left_out) links += one.why == LeftOutEntry::Why::link;
  EXPECT_EQ(links, 4U);
  EXPECT_EQ(opened.left_out.size(), 5U);
  // A link that a person named is followed.
  EXPECT_EQ(open({{directory_ / "d/link.img", "", false}}).sources.size(), 1U);
  // A file that has become a link since it was found is not.
  SourceSpec found;
  found.path = directory_ / "d/link.img";
  found.from_directory = true;
  const auto again = open({found});
  ASSERT_EQ(again.failures.size(), 1U);
  EXPECT_NE(std::string(again.failures[0].error.what()).find("symbolic link"), std::string::npos);
}

TEST_F(Sources, ADirectoryOfLinksOnlySaysWhatToDo) {
  const std::string secret = make("secret.img");
  std::filesystem::create_directory(directory_ / "links");
  std::filesystem::create_symlink(secret, directory_ / "links/a.img");
  const auto opened = open({{directory_ / "links", "", false}});
  ASSERT_EQ(opened.failures.size(), 1U);
  EXPECT_NE(std::string(opened.failures[0].error.what()).find("name those that you mean"),
            std::string::npos);
}

/// A FIFO's writer blocks until a process opens it for reading; its bytes are lost when that
/// process closes it.
TEST_F(Sources, AFifoIsNotOpened) {
  const std::string path = directory_ / "fifo";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::atomic<bool> opened = false;
  std::thread writer([&] {
    const int fd = ::open(path.c_str(), O_WRONLY);
    opened = true;
    ::close(fd);
  });
  EXPECT_EQ(open({{path, "", false}}).failures.size(), 1U);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_FALSE(opened) << "its writer was woken";
  ::close(::open(path.c_str(), O_RDONLY | O_NONBLOCK));  // lets the writer go, at once or later
  writer.join();
}

TEST_F(Sources, ABlockDevice) {
  const auto attached = test::run("losetup --find --show -r '" + make("a.img", 1U << 20U) + "'");
  if (attached.exit_code != 0) GTEST_SKIP() << "may not make loop devices here";
  const std::string loop = attached.output.substr(0, attached.output.find('\n'));
  {
    const auto opened = open({{loop, "", false}});
    ASSERT_EQ(opened.sources.size(), 1U)
        << (opened.failures.empty() ? "" : opened.failures[0].error.what());
    EXPECT_TRUE(opened.sources[0].file->is_block_device());
  }
  EXPECT_EQ(test::run("losetup -d " + loop).exit_code, 0);
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

}  // namespace
}  // namespace peelfs
