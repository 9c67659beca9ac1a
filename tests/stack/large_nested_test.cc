// Guests of terabytes as sparse files in filesystems, and a whole stack of such layers.
#include "large.h"

namespace peelfs::test {
namespace {

/// A partitioned guest disk of terabytes, whose one partition has marks at its ends.
class LargeNested : public Large {
 protected:
  std::string make_guest(const std::string& path, std::uint64_t size) {
    write_at(path, 0, {});
    std::filesystem::resize_file(path, size);
    sfdisk(path, "label: gpt\\nstart=2048\\n");
    const std::string dump = must_run("PATH=$PATH:/sbin partx -g -b -o SECTORS '" + path + "'");
    partition_size_ = std::stoull(dump) * 512;
    for (const std::uint64_t offset : marks()) write_at(path, 1 * MiB + offset, mark(offset));
    return path;
  }
  std::vector<std::uint64_t> marks() const {
    return {0, 1 * GiB - 12345, partition_size_ / 2, partition_size_ - mark_size};
  }
  void check_guest(const Catalog& catalog, const std::string& partition) {
    const BlockDevice& inner = device(catalog, partition);
    EXPECT_EQ(inner.size(), partition_size_);
    for (const std::uint64_t offset : marks()) EXPECT_TRUE(has_mark(inner, offset)) << offset;
    EXPECT_TRUE(has_bytes(inner, partition_size_ / 3, Buffer(10'000))) << "holes are zeroes";
  }
  /// What debugfs makes of the file: that the test's geometry is what its name says.
  static std::string debugfs(const std::string& image, const std::string& command) {
    return must_run("/sbin/debugfs -R '" + command + "' '" + image + "' 2>&1");
  }

  std::uint64_t partition_size_ = 0;
};

TEST_F(LargeNested, TripleIndirectBlocks) {
  if (!need({"mke2fs", "debugfs", "sfdisk", "partx"})) GTEST_SKIP() << missing_;
  for (const auto& [options, size] :
       {std::pair<std::string, std::uint64_t>{"-t ext2 -b 1024", 15 * GiB},
        {"-t ext3 -b 4096", 1900 * GiB}}) {
    const std::string tree = directory_ / "tree";
    std::filesystem::remove_all(tree);
    std::filesystem::create_directory(tree);
    make_guest(tree + "/guest.img", size);
    const std::string image = sparse("host.img", 64 * MiB);
    must_run("/sbin/mke2fs -q -F -d '" + tree + "' " + options + " '" + image + "'");
    EXPECT_NE(debugfs(image, "stat /guest.img").find("(TIND)"), std::string::npos) << options;
    const auto catalog = peel(image);
    EXPECT_EQ(device(*catalog, "guest.img").size(), size);
    check_guest(*catalog, "guestp1");
    EXPECT_LT(count_data(device(*catalog, "guestp1")), 16 * MiB);
    std::filesystem::remove(image);
  }
}

TEST_F(LargeNested, DeepExtentTree) {
  if (!need({"mke2fs", "debugfs", "sfdisk", "partx"})) GTEST_SKIP() << missing_;
  const std::string tree = directory_ / "tree";
  std::filesystem::create_directory(tree);
  const std::string guest = make_guest(tree + "/guest.img", 3 * TiB);
  // More extents than two levels of 84 have room for, in the middle of nothing.
  const Buffer piece = pattern(4096, 5);
  const std::uint64_t base = 2 * TiB + 1 * MiB;
  constexpr std::uint64_t pieces = 8000;
  for (std::uint64_t i = 0; i < pieces; ++i) write_at(guest, base + i * 8192, piece);
  const std::string image = sparse("host.img", 200 * MiB);
  must_run("/sbin/mke2fs -q -F -b 1024 -O ^has_journal -t ext4 -d '" + tree + "' '" + image + "'");
  EXPECT_NE(debugfs(image, "ex /guest.img").find(" 2/ 2 "), std::string::npos);
  const auto catalog = peel(image);
  check_guest(*catalog, "guestp1");
  const BlockDevice& inner = device(*catalog, "guestp1");
  for (const std::uint64_t i : {std::uint64_t{0}, pieces / 2, pieces - 1}) {
    EXPECT_TRUE(has_bytes(inner, base - 1 * MiB + i * 8192, piece)) << i;
    EXPECT_TRUE(has_bytes(inner, base - 1 * MiB + i * 8192 + 4096, Buffer(4096))) << i;
  }
}

TEST_F(LargeNested, WholeStackOfTebibytes) {
  if (!need({"mke2fs", "sfdisk", "partx", "qemu-img"})) GTEST_SKIP() << missing_;
  // qcow2 of 8 TiB > GPT > partition at 5 TiB > ext4 of 2.9 TiB > guest of 2.5 TiB > GPT >
  // partition
  const std::string tree = directory_ / "tree";
  std::filesystem::create_directories(tree + "/images");
  make_guest(tree + "/images/guest.img", 5 * TiB / 2);
  const std::string filesystem = sparse("filesystem", 2900 * GiB);
  must_run("/sbin/mke2fs -q -F -t ext4 -E lazy_itable_init=1 -O ^has_journal -m 0 -d '" + tree +
           "' '" + filesystem + "'");
  const std::string disk = sparse("raw", 8 * TiB);
  sfdisk(disk, "label: gpt\\nstart=2048,size=4096\\nstart=10737418240,size=6081740800\\n");
  copy_data(filesystem, disk, 5 * TiB);
  const std::string image = directory_ / "disk.qcow2";
  must_run("qemu-img convert -q -f raw -O qcow2 '" + disk + "' '" + image + "'");
  const auto catalog = peel(image);
  EXPECT_EQ(device(*catalog, "disk").size(), 8 * TiB);
  EXPECT_EQ(device(*catalog, "diskp2").size(), 2900 * GiB);
  EXPECT_EQ(device(*catalog, "guest.img").size(), 5 * TiB / 2);
  check_guest(*catalog, "guestp1");
  EXPECT_LT(count_data(device(*catalog, "guestp1")), 16 * MiB);
}

}  // namespace
}  // namespace peelfs::test
