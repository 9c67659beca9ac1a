// ext as a Filesystem: what it says of files and of free space, against what debugfs, dumpe2fs and
// the host say.
#include "ext/filesystem.h"

#include <sys/stat.h>

#include <filesystem>
#include <set>
#include <sstream>

#include "ext_support.h"
#include "support/filesystem_contract.h"

namespace peelfs::test {
namespace {

namespace std_fs = std::filesystem;

class ExtFilesystem : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!have_program("mke2fs") || !have_program("dumpe2fs")) {
      GTEST_SKIP() << "needs mke2fs and dumpe2fs (e2fsprogs)";
    }
    const std_fs::path tree = directory_ / "tree";
    std_fs::create_directories(tree / "dir/deep");
    write_file(tree / "dir/plain", pattern(300'000, 1));
    write_file(tree / "dir/deep/small", pattern(100, 2));
    write_file(tree / "empty", {});
    write_at(tree / "sparse", 5'000'000, pattern(70'000, 3));
    std_fs::create_hard_link(tree / "dir/plain", tree / "again");
    std_fs::create_symlink("dir/plain", tree / "short");
    std_fs::create_symlink(std::string(200, 'x'), tree / "long");
    for (int i = 0; i < 300; ++i) {
      write_file(tree / ("dir/deep/a rather long name of a file " + std::to_string(i)), {});
    }
    chmod((tree / "dir/plain").c_str(), 04751);
    must_run("touch -d '2040-03-04 05:06:07.891 UTC' '" + (tree / "dir/plain").string() + "'");
    must_run("touch -d '1960-01-02 03:04:05 UTC' '" + (tree / "empty").string() + "'");
    if (geteuid() == 0) {
      must_run("chown 70001:80002 '" + (tree / "dir/deep/small").string() + "'");
    }
    tree_ = tree.string();
    ASSERT_TRUE(make_filesystem(image_, "200M", GetParam() + " -d '" + tree_ + "'"));
  }

  Filesystem::Stat stat(const Filesystem& filesystem, const std::string& path) const {
    const auto reader = filesystem.reader();
    Filesystem::Stat found = reader->stat(filesystem.root());
    std::istringstream components(path);
    Filesystem::Allowance allowance;
    for (std::string name; std::getline(components, name, '/');) {
      const auto id = reader->find(found, name, allowance);
      if (!id) throw std::runtime_error("no " + path);
      found = reader->stat(*id);
    }
    return found;
  }

  ScratchDirectory directory_;
  std::string image_ = directory_ / "image", tree_;
};

TEST_P(ExtFilesystem, KeepsTheContract) {
  const DevicePtr device = file_device(image_);
  const SeenImage seen(device);
  // The root, lost+found, two directories, six files and links, three hundred more.
  EXPECT_EQ(check_filesystem(seen.filesystem(), *device), 4U + 6U + 300U);
}

TEST_P(ExtFilesystem, StatSaysWhatTheHostSays) {
  const SeenImage seen(image_);
  const bool wide = GetParam().find("-I 128") == std::string::npos;
  for (const std::string path :
       {"dir", "dir/plain", "dir/deep/small", "empty", "sparse", "short", "long", "again"}) {
    struct stat host {};
    ASSERT_EQ(lstat((tree_ + "/" + path).c_str(), &host), 0);
    const Filesystem::Stat ours = stat(seen.filesystem(), path);
    EXPECT_EQ(ours.mode, host.st_mode) << path;
    EXPECT_EQ(ours.owner, host.st_uid) << path;
    EXPECT_EQ(ours.group, host.st_gid) << path;
    if (!S_ISDIR(host.st_mode)) {
      EXPECT_EQ(ours.size, static_cast<std::uint64_t>(host.st_size)) << path;
      EXPECT_EQ(ours.links, host.st_nlink) << path;
    }
    ASSERT_TRUE(ours.modified && ours.changed && ours.accessed) << path;
    // mke2fs copies 32 bits.
    EXPECT_EQ(ours.modified->seconds, static_cast<std::int32_t>(host.st_mtim.tv_sec)) << path;
    EXPECT_EQ(ours.created.has_value(), wide) << path;
  }
  EXPECT_EQ(stat(seen.filesystem(), "again").id, stat(seen.filesystem(), "dir/plain").id);
}

TEST_P(ExtFilesystem, TimesBehindTheYear2038) {
  if (GetParam().find("-I 128") != std::string::npos) GTEST_SKIP() << "its inodes are too small";
  // 2040-03-04 05:06:07.891: the lower 32 bits are there already.
  must_run("PATH=$PATH:/sbin debugfs -w -R 'set_inode_field dir/plain mtime_extra " +
           std::to_string((891'000'000ULL << 2U) | 1U) + "' '" + image_ + "' 2>&1");
  const SeenImage seen(image_);
  const Filesystem::Stat ours = stat(seen.filesystem(), "dir/plain");
  EXPECT_EQ(*ours.modified, (Filesystem::Time{2'214'450'367, 891'000'000}));
  // Seconds of before 1970 have no such bits.
  EXPECT_EQ(stat(seen.filesystem(), "empty").modified->seconds, -315'521'755);
  const std::string text =
      must_run("PATH=$PATH:/sbin debugfs -R 'stat dir/plain' '" + image_ + "' 2>/dev/null");
  EXPECT_NE(text.find(" 2040"), std::string::npos) << text;
}

TEST_P(ExtFilesystem, FreeSpaceIsWhatDumpe2fsPrints) {
  const SeenImage seen(image_);
  std::istringstream text(must_run("PATH=$PATH:/sbin dumpe2fs '" + image_ + "' 2>/dev/null"));
  std::uint64_t block_size = 0;
  std::uint64_t cluster = 1;  // blocks; a run is printed up to the first block of its last cluster
  std::set<std::uint64_t> expected;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("Block size:")) block_size = std::stoull(line.substr(11));
    if (line.starts_with("Cluster size:")) cluster = std::stoull(line.substr(13)) / block_size;
    if (!line.starts_with("  Free blocks:")) continue;
    std::istringstream runs(line.substr(14));
    for (std::string run; std::getline(runs, run, ',');) {
      if (run.find_first_of("0123456789") == std::string::npos) continue;
      const std::size_t dash = run.find('-');
      const std::uint64_t first = std::stoull(run);
      const std::uint64_t last =
          dash == std::string::npos ? first : std::stoull(run.substr(dash + 1));
      for (std::uint64_t block = first; block < last + cluster; ++block) expected.insert(block);
    }
  }
  ASSERT_GT(expected.size(), 1000U);
  std::set<std::uint64_t> ours;
  EXPECT_FALSE(seen.filesystem().free_space([&](const ByteRange& range) {
    EXPECT_EQ(range.offset % block_size, 0U);
    for (std::uint64_t at = 0; at < range.length; at += block_size) {
      ours.insert((range.offset + at) / block_size);
    }
    return true;
  }));
  EXPECT_TRUE(ours == expected) << ours.size() << " blocks, expected " << expected.size();
}

TEST_P(ExtFilesystem, ADamagedBitmapMakesNothingFree) {
  if (GetParam().find("-t ext4") == std::string::npos) GTEST_SKIP() << "it has no checksum";
  const SeenImage whole(image_);
  std::uint64_t before = 0;
  std::uint64_t first_free = 0;
  (void)whole.filesystem().free_space([&](const ByteRange& range) {
    if (before == 0) first_free = range.offset;
    before += range.length;
    return true;
  });
  // The bitmap of the group in which that is.
  std::istringstream text(must_run("PATH=$PATH:/sbin dumpe2fs '" + image_ + "' 2>/dev/null"));
  std::uint64_t block_size = 0;
  std::uint64_t bitmap = 0;
  std::string group;
  bool here = false;
  for (std::string line; std::getline(text, line) && bitmap == 0;) {
    if (line.starts_with("Block size:")) block_size = std::stoull(line.substr(11));
    if (line.starts_with("Group ") && line.find("(Blocks ") != std::string::npos) {
      const std::string range = line.substr(line.find("(Blocks ") + 8);
      here = first_free / block_size >= std::stoull(range) &&
             first_free / block_size <= std::stoull(range.substr(range.find('-') + 1));
      group = line.substr(6, line.find(':') - 6);
    }
    const std::size_t at = line.find("Block bitmap at ");
    if (here && at != std::string::npos) bitmap = std::stoull(line.substr(at + 16));
  }
  ASSERT_NE(bitmap, 0U);
  const Buffer byte = read_bytes(*file_device(image_), bitmap * block_size + 100, 1);
  write_at(image_, bitmap * block_size + 100, Buffer{~byte[0]});
  const SeenImage damaged(image_);
  std::uint64_t after = 0;
  const auto damage = damaged.filesystem().free_space([&](const ByteRange& range) {
    EXPECT_GT(range.offset, first_free);
    after += range.length;
    return true;
  });
  ASSERT_TRUE(damage);
  EXPECT_NE(std::string(damage->what()).find("group " + group + " fails its checksum"),
            std::string::npos)
      << damage->what();
  EXPECT_LT(after, before);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ExtFilesystem,
                         ::testing::Values("-t ext4 -b 4096 -g 8192", "-t ext4 -b 1024",
                                           "-t ext2 -b 1024 -I 128", "-t ext3 -b 4096 -I 128",
                                           "-t ext4 -O inline_data,64bit -I 256",
                                           "-t ext4 -O bigalloc -C 16384"));

}  // namespace
}  // namespace peelfs::test
