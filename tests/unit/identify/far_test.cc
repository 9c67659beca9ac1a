// Filesystems whose labels lie far from both ends of the device: libblkid itself, which reads the
// whole file, is asked for the same.
#include <gtest/gtest.h>

#include <algorithm>

#include "identify/identify.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

void put_le(Buffer& bytes, std::size_t at, std::uint64_t value, unsigned width) {
  for (unsigned i = 0; i < width; ++i) bytes.at(at + i) = static_cast<std::byte>(value >> (8 * i));
}
void put_be(Buffer& bytes, std::size_t at, std::uint64_t value, unsigned width) {
  for (unsigned i = 0; i < width; ++i) {
    bytes.at(at + i) = static_cast<std::byte>(value >> (8 * (width - 1 - i)));
  }
}
void put_text(Buffer& bytes, std::size_t at, std::string_view text) {
  std::copy_n(as_bytes(text).begin(), text.size(), bytes.begin() + static_cast<long>(at));
}
std::uint64_t get_le(const Buffer& bytes, std::size_t at, unsigned width) {
  std::uint64_t value = 0;
  for (unsigned i = width; i-- > 0;) {
    value = value << 8U | std::to_integer<std::uint64_t>(bytes.at(at + i));
  }
  return value;
}

class Far : public testing::Test {
 protected:
  void make(const std::string& size, const std::string& command) {
    must_run("truncate -s " + size + " '" + path_ + "'; F='" + path_ + "'; " + command);
  }
  void put(std::uint64_t offset, const Buffer& bytes) {
    write_file(path_ + ".piece", bytes);
    must_run("dd if='" + path_ + ".piece' of='" + path_ +
             "' conv=notrunc oflag=seek_bytes bs=1M status=none seek=" + std::to_string(offset));
  }
  Buffer get(std::uint64_t offset, std::size_t length) {
    return read_bytes(*file_device(path_), offset, length);
  }
  std::string blkid(const std::string& tag) {
    std::string value = run("blkid -p -o value -s " + tag + " '" + path_ + "'").output;
    if (!value.empty()) value.pop_back();
    return value;
  }
  void expect(const std::string& type, const std::string& label) {
    const Identity identity = identify(*file_device(path_));
    EXPECT_EQ(identity.type, blkid("TYPE"));
    EXPECT_EQ(identity.label, blkid("LABEL"));
    EXPECT_EQ(identity.uuid, blkid("UUID"));
    EXPECT_EQ(identity.type, type);
    EXPECT_EQ(identity.label, label);
  }

  const TemporaryDirectory directory_;
  const std::string path_ = directory_ / "image";
};

TEST_F(Far, Fat32RootDirectoryAndItsChain) {
  if (!have_program("mkfs.vfat")) GTEST_SKIP() << "mkfs.vfat is not installed";
  make("120G", "mkfs.vfat -F 32 -s 64 -n NEAR $F");
  Buffer boot = get(0, 512);
  const std::uint64_t cluster = get_le(boot, 13, 1) * 512;
  const std::uint64_t fat = get_le(boot, 14, 2) * 512;
  const std::uint64_t data = fat + get_le(boot, 16, 1) * get_le(boot, 36, 4) * 512;
  const std::vector<std::uint64_t> chain = {1000000, 2500000, 3500000};
  put_le(boot, 44, chain.front(), 4);
  put(0, boot);
  for (std::size_t i = 0; i < chain.size(); ++i) {
    Buffer entry(4);
    put_le(entry, 0, i + 1 < chain.size() ? chain[i + 1] : 0x0FFFFFFF, 4);
    put(fat + chain[i] * 4, entry);
    Buffer directory(cluster, std::byte{0xE5});  // deleted entries
    if (i + 1 == chain.size()) {
      std::fill_n(directory.begin(), 64, std::byte{0});
      put_text(directory, 0, "FAR AWAY   ");
      directory[11] = std::byte{0x08};
    }
    put(data + (chain[i] - 2) * cluster, directory);
  }
  expect("vfat", "FAR AWAY");
}

TEST_F(Far, ExfatRootDirectoryAndItsChain) {
  if (!have_program("mkfs.exfat")) GTEST_SKIP() << "mkfs.exfat is not installed";
  make("200G", "mkfs.exfat -n near $F");
  Buffer boot = get(0, 512);
  const unsigned shift = static_cast<unsigned>(get_le(boot, 108, 1));
  const std::uint64_t cluster = 1ULL << (shift + get_le(boot, 109, 1));
  const std::uint64_t fat = get_le(boot, 80, 4) << shift;
  const std::uint64_t heap = get_le(boot, 88, 4) << shift;
  const std::vector<std::uint64_t> chain = {500000, 1200000};
  put_le(boot, 96, chain.front(), 4);
  put(0, boot);
  Buffer entry(4);
  put_le(entry, 0, chain[1], 4);
  put(fat + chain[0] * 4, entry);
  Buffer directory(cluster, std::byte{0x05});  // deleted entries
  put(heap + (chain[0] - 2) * cluster, directory);
  put_le(directory, 0, 0x83, 1);
  put_le(directory, 1, 3, 1);
  put_text(directory, 2, std::string_view("f\0\xFC\0r\0", 6));
  put(heap + (chain[1] - 2) * cluster, directory);
  expect("exfat", "f\xc3\xbcr");
}

TEST_F(Far, HfsPlusCatalogInItsSecondExtent) {
  for (const bool embedded : {false, true}) {
    constexpr std::uint64_t kBlock = 4096;
    std::uint64_t volume = 0;
    make("0", "true");
    make("3G", "true");
    if (embedded) {
      Buffer mdb(162);
      put_text(mdb, 0, "BD");
      put_be(mdb, 20, 8192, 4);
      put_be(mdb, 28, 16, 2);
      put_text(mdb, 124, "H+");
      put_be(mdb, 126, 300, 2);
      put(1024, mdb);
      volume = 16 * 512 + 300 * 8192;
    }
    Buffer header(512);
    put_text(header, 0, "H+");
    put_be(header, 40, kBlock, 4);
    put_text(header, 104, "8 bytes!");
    put_be(header, 288, 3000, 4);
    put_be(header, 292, 1, 4);
    put_be(header, 296, 500000, 4);
    put_be(header, 300, 8, 4);
    put(volume + 1024, header);
    Buffer node(64);
    put_be(node, 20, 1, 4);     // leaves
    put_be(node, 24, 1, 4);     // the first leaf
    put_be(node, 32, 8192, 2);  // bytes of a node
    put(volume + 3000 * kBlock, node);
    Buffer leaf(512);
    put_be(leaf, 8, 0xFF, 1);
    put_be(leaf, 10, 1, 2);
    put_be(leaf, 16, 1, 4);
    put_be(leaf, 20, 3, 2);
    put_text(leaf, 22, std::string_view("\0M\0a\0c", 6));
    put(volume + (500000 + 1) * kBlock,
        leaf);  // block 2 of the catalog, one behind the first extent
    expect("hfsplus", "Mac");
  }
}

}  // namespace
}  // namespace peelfs::test
