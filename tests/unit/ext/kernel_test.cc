// Files that the kernel wrote, on filesystems of many geometries, against what the kernel reads
// back.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "ext_support.h"

namespace peelfs::test {
namespace {

struct Geometry {
  const char* name;
  const char* options;
  const char* mount_options = "rw";
};

void PrintTo(const Geometry& geometry, std::ostream* out) {
  *out << geometry.options;
}

constexpr std::uint64_t KiB = 1024, MiB = 1024 * KiB, GiB = 1024 * MiB;

void allocate(const std::string& path, int mode, std::uint64_t offset, std::uint64_t length) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  const int result = fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
  // ext2 and ext3 have no unwritten extents: the files are then plain.
  EXPECT_TRUE(result == 0 || errno == EOPNOTSUPP) << path << ": " << strerror(errno);
  close(fd);
}

void make_plain(const KernelMount& mount) {
  write_at(mount / "plain.img", 0, pattern(3 * MiB + 123, 1));
  std::filesystem::create_directories(mount / "images/deep");
  write_at(mount / "images/odd.qcow2", 0, pattern(64 * KiB + 1, 2));
  write_at(mount / "images/deep/UPPER.RAW", 0, pattern(130 * KiB, 3));
  for (const std::string name :
       {"tab\tnew\nline.img", "q'uo\"te.img", "\xc3\xa4\xff.img", "-.img", "sp ace .img"}) {
    write_at(mount / ("images/" + name), 0, pattern(70 * KiB, name.size()));
  }
}

void make_sparse(const KernelMount& mount) {
  const std::string sparse = mount / "sparse.img";
  for (const std::uint64_t at : {0 * MiB, 5 * MiB + 777, 20 * MiB, 66 * MiB, 200 * MiB - 1}) {
    write_at(sparse, at, pattern(100'001, at));
  }
  std::filesystem::resize_file(sparse, 300 * MiB + 5);
  const std::string empty = mount / "all-hole.img";
  write_at(empty, 0, {});
  std::filesystem::resize_file(empty, 17 * MiB + 1);
}

void make_unwritten(const KernelMount& mount) {
  const std::string file = mount / "falloc.img";
  allocate(file, 0, 0, 8 * MiB);
  for (const std::uint64_t at : {64 * KiB, 1 * MiB + 3, 3 * MiB, 8 * MiB - 4096}) {
    write_at(file, at, pattern(4096, at));
  }
  const std::string beyond = mount / "keep-size.img";
  write_at(beyond, 0, pattern(200 * KiB + 9, 4));
  allocate(beyond, FALLOC_FL_KEEP_SIZE, 0, 4 * MiB);
  const std::string punched = mount / "punched.img";
  write_at(punched, 0, pattern(2 * MiB, 5));
  allocate(punched, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100'000, 500'000);
  allocate(punched, FALLOC_FL_ZERO_RANGE, 1 * MiB + 1, 300'000);
}

void make_fragmented(const KernelMount& mount, int pieces, long stride) {
  const std::string file = mount / "fragmented.img";
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  const Buffer bytes = pattern(1024, 6);
  for (int i = 0; i < pieces; ++i) {
    Buffer piece = bytes;
    put32(piece, 0, static_cast<std::uint32_t>(i));
    ASSERT_EQ(pwrite(fd, piece.data(), piece.size(), i * stride), 1024);
  }
  close(fd);
}

class Kernel : public ::testing::TestWithParam<Geometry> {};

TEST_P(Kernel, EveryFileIsAsTheKernelReadsIt) {
  if (!can_mount()) GTEST_SKIP() << cannot_mount();
  const ScratchDirectory directory;
  const std::string image = directory / "image";
  ASSERT_TRUE(make_filesystem(image, "400M", GetParam().options));
  std::vector<std::string> files;
  {
    const KernelMount mount(image, GetParam().mount_options);
    if (!mount.mounted()) GTEST_SKIP() << "this kernel cannot mount " << GetParam().options;
    make_plain(mount);
    make_sparse(mount);
    make_unwritten(mount);
    make_fragmented(mount, 1000, 8192);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(mount / "")) {
      if (entry.is_regular_file() && entry.file_size() >= 64 * KiB) {
        files.push_back(std::filesystem::relative(entry.path(), mount / "").string());
      }
    }
  }
  ASSERT_EQ(files.size(), 14U);
  const KernelMount mount(image, "ro");
  ASSERT_TRUE(mount.mounted());
  const SeenImage seen(image);
  EXPECT_EQ(seen.trouble(), "");
  EXPECT_EQ(seen.files().size(), files.size());
  for (const std::string& file : files) {
    EXPECT_EQ(compare_with_file(*seen.at(file).device, mount / file), "") << file;
  }
  for (const char* file : {"images/odd.qcow2", "falloc.img", "punched.img"}) {
    check_contract(*seen.at(file).device);
  }
  const std::string digest = must_run("sha256sum < '" + (mount / "fragmented.img") + "'");
  EXPECT_EQ(sha256(*seen.at("fragmented.img").device), digest.substr(0, 64));
}

INSTANTIATE_TEST_SUITE_P(
    Geometries, Kernel,
    ::testing::Values(
        Geometry{"ext2_1k", "-t ext2 -b 1024"}, Geometry{"ext2_2k", "-t ext2 -b 2048"},
        Geometry{"ext2_4k", "-t ext2 -b 4096"}, Geometry{"ext2_revision0", "-t ext2 -r 0 -O none"},
        Geometry{"ext3", "-t ext3"}, Geometry{"ext3_1k", "-t ext3 -b 1024"},
        Geometry{"ext4", "-t ext4"}, Geometry{"ext4_1k", "-t ext4 -b 1024"},
        Geometry{"ext4_2k", "-t ext4 -b 2048"},
        Geometry{"no_checksums", "-t ext4 -O ^64bit,^metadata_csum"},
        Geometry{"uninit_bg", "-t ext4 -O ^64bit,^metadata_csum,uninit_bg"},
        Geometry{"bigalloc", "-t ext4 -O bigalloc -C 65536"},
        Geometry{"bigalloc_1k", "-t ext4 -b 1024 -O bigalloc -C 16384"},
        Geometry{"meta_bg", "-t ext4 -b 1024 -O meta_bg,^resize_inode"},
        Geometry{"meta_bg_32bit", "-t ext4 -b 1024 -O meta_bg,^resize_inode,^64bit"},
        Geometry{"inline_data", "-t ext4 -O inline_data"},
        Geometry{"inline_data_512", "-t ext4 -O inline_data -I 512"},
        Geometry{"no_extents", "-t ext4 -O ^extent,^64bit"},
        Geometry{"no_flex_bg", "-t ext4 -O ^flex_bg"},
        Geometry{"no_filetype", "-t ext4 -O ^filetype"},
        Geometry{"no_index", "-t ext4 -O ^dir_index,^sparse_super,^resize_inode"},
        Geometry{"large_dir", "-t ext4 -O large_dir,ea_inode"},
        Geometry{"inode128", "-t ext4 -I 128 -O ^metadata_csum"},
        Geometry{"inode1024", "-t ext4 -I 1024"},
        Geometry{"csum_seed", "-t ext4 -O metadata_csum_seed -U random"},
        Geometry{"casefold", "-t ext4 -O casefold -E encoding=utf8"},
        Geometry{"encrypt", "-t ext4 -O encrypt"}, Geometry{"verity", "-t ext4 -O verity"},
        Geometry{"quota_mmp", "-t ext4 -O quota,mmp"},
        Geometry{"sparse_super2", "-t ext4 -O sparse_super2,^resize_inode"},
        Geometry{"orphan_file", "-t ext4 -O orphan_file,fast_commit"},
        Geometry{"small_groups", "-t ext4 -g 2048 -b 1024 -G 4"}),
    [](const auto& instance) { return instance.param.name; });

TEST(KernelDeep, ExtentTreeOfDepthThree) {
  if (!can_mount()) GTEST_SKIP() << cannot_mount();
  const ScratchDirectory directory;
  const std::string image = directory / "image";
  // 84 entries a node of 1 KiB and 4 in the inode: more than 4 * 84 * 84 extents need a third
  // level.
  ASSERT_TRUE(make_filesystem(image, "200M", "-t ext4 -b 1024"));
  {
    const KernelMount mount(image, "rw");
    make_fragmented(mount, 30'000, 2048);
  }
  const std::string tree = must_run("/sbin/debugfs -R 'ex /fragmented.img' '" + image + "' 2>&1");
  ASSERT_NE(tree.find(" 3/ 3 "), std::string::npos) << "the kernel made no such tree: test is void";
  const KernelMount mount(image, "ro");
  const SeenImage seen(image);
  EXPECT_EQ(compare_with_file(*seen.at("fragmented.img").device, mount / "fragmented.img"), "");
}

TEST(KernelDeep, TripleIndirectBlocks) {
  if (!can_mount()) GTEST_SKIP() << cannot_mount();
  for (const char* options :
       {"-t ext2 -b 1024", "-t ext3 -b 4096", "-t ext4 -b 4096 -O ^extent,^64bit"}) {
    const ScratchDirectory directory;
    const std::string image = directory / "image";
    ASSERT_TRUE(make_filesystem(image, "64M", options));
    const bool small = std::string(options).find("1024") != std::string::npos;
    {
      const KernelMount mount(image, "rw");
      // On both sides of where each level begins, and at the very end.
      const std::uint64_t block = small ? 1024 : 4096;
      const std::uint64_t fan = block / 4;
      std::uint64_t border = 12 * block;
      for (std::uint64_t level = fan * block; level <= fan * fan * fan * block; level *= fan) {
        write_at(mount / "far.img", border - 1000, pattern(5000, border));
        border += level;
      }
      // The kernel's limits for files of block maps are just above.
      const std::uint64_t last = small ? 16 * GiB : 2000 * GiB;
      write_at(mount / "far.img", last - 3000, pattern(2999, last));
    }
    const KernelMount mount(image, "ro");
    const SeenImage seen(image);
    EXPECT_EQ(compare_with_file(*seen.at("far.img").device, mount / "far.img"), "") << options;
  }
}

TEST(KernelDeep, FarEndOfAnExtentTree) {
  if (!can_mount()) GTEST_SKIP() << cannot_mount();
  const ScratchDirectory directory;
  const std::string image = directory / "image";
  ASSERT_TRUE(make_filesystem(image, "64M", "-t ext4 -b 4096"));
  {
    const KernelMount mount(image, "rw");
    // The largest file that ext4 has: 2^32 - 1 blocks.
    write_at(mount / "far.img", 0, pattern(5000, 1));
    write_at(mount / "far.img", 16384 * GiB - 4096 - 3000, pattern(3000, 2));
  }
  const KernelMount mount(image, "ro");
  const SeenImage seen(image);
  EXPECT_EQ(compare_with_file(*seen.at("far.img").device, mount / "far.img"), "");
}

TEST(KernelDirectories, SpecialFilesLinksAndLoops) {
  if (!can_mount()) GTEST_SKIP() << cannot_mount();
  const ScratchDirectory directory;
  const std::string image = directory / "image";
  ASSERT_TRUE(make_filesystem(image, "64M", "-t ext4"));
  {
    const KernelMount mount(image, "rw");
    namespace fs = std::filesystem;
    write_at(mount / "real.img", 0, pattern(100'000, 1));
    fs::create_hard_link(mount / "real.img", mount / "second-name.img");
    fs::create_symlink("real.img", mount / "link.img");
    fs::create_symlink("loop.img", mount / "loop.img");
    fs::create_directory_symlink(".", mount / "here");
    fs::create_directory_symlink("/", mount / "root");
    ASSERT_EQ(mkfifo((mount / "fifo.img").c_str(), 0600), 0);
    ASSERT_EQ(mknod((mount / "device.img").c_str(), S_IFBLK | 0600, 0x700), 0);
    std::string deep;
    for (int i = 0; i < 100; ++i) deep += "d/";
    fs::create_directories(mount / deep);
    write_at(mount / (deep + "bottom.img"), 0, pattern(100'000, 2));
    write_at(mount / "lost+found/rescued.img", 0, pattern(100'000, 3));
    write_at(mount / "empty.img", 0, {});
    write_at(mount / "small.img", 0, pattern(1000, 4));
  }
  const SeenImage seen(image);
  EXPECT_EQ(seen.trouble(), "");
  std::vector<std::string> names;
  for (const Inner& inner : seen.files()) names.push_back(inner.name);
  EXPECT_EQ(names, (std::vector<std::string>{"bottom.img", "rescued.img", "real.img"}));
  const Inner& bottom = seen.files().front();
  EXPECT_EQ(bottom.path.size(), 101U);
  EXPECT_EQ(bottom.stem, "bottom");
  EXPECT_EQ(bottom.kind, "file");
  EXPECT_TRUE(bottom.image_file);
}

TEST(KernelDirectories, HashIndexOfManyNames) {
  if (!can_mount()) GTEST_SKIP() << cannot_mount();
  for (const char* options :
       {"-t ext4 -b 1024 -N 20000", "-t ext4 -b 4096 -N 20000 -O large_dir"}) {
    const ScratchDirectory directory;
    const std::string image = directory / "image";
    ASSERT_TRUE(make_filesystem(image, "64M", options));
    constexpr int count = 3000;
    {
      const KernelMount mount(image, "rw");
      std::filesystem::create_directory(mount / "many");
      for (int i = 0; i < count; ++i) {
        const std::string name =
            mount / ("many/disk with a rather long name, number " + std::to_string(i) + ".img");
        write_at(name, 0, {});
        std::filesystem::resize_file(name, 65536 + static_cast<std::uintmax_t>(i));
      }
    }
    const SeenImage seen(image);
    EXPECT_EQ(seen.trouble(), "");
    EXPECT_EQ(seen.files().size(), static_cast<std::size_t>(count));
    for (const int i : {0, 1, 1500, count - 1}) {
      const Inner& inner =
          seen.at("many/disk with a rather long name, number " + std::to_string(i) + ".img");
      EXPECT_EQ(inner.device->size(), 65536U + static_cast<unsigned>(i));
    }
  }
}

}  // namespace
}  // namespace peelfs::test
