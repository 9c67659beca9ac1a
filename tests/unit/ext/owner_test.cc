// What blocks are, against what debugfs and dumpe2fs say of them.
#include "ext/read/owner.h"

#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "fs/names.h"
#include "support/support.h"

namespace peelfs::ext {
namespace {

std::vector<NamedRange> name_blocks(const DevicePtr& device, std::span<const ByteRange> ranges) {
  std::vector<NamedRange> named;
  for (const auto& range : find_owners(*device, ranges)) {
    append(named, range.offset, range.offset + range.length, fs::text_of(range.owner));
  }
  return named;
}

std::string name_of(const DevicePtr& device, std::uint64_t block, std::uint64_t block_size) {
  const ByteRange range{block * block_size, block_size};
  const auto named = name_blocks(device, {&range, 1});
  return named.size() == 1 ? named[0].what : "not one name";
}

class Owner : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!test::have_program("mke2fs") || !test::have_program("debugfs")) {
      GTEST_SKIP() << "e2fsprogs is not installed";
    }
    image_ = folder_ / "fs";
    test::must_run("mkdir -p " + (folder_ / "tree/etc/deep") + "; head -c 300000 /dev/urandom >" +
                   (folder_ / "tree/etc/large") + "; echo hello >" +
                   (folder_ / "tree/etc/deep/small"));
    test::must_run("PATH=$PATH:/usr/sbin mke2fs -q -F " + GetParam() + " -d " + (folder_ / "tree") +
                   " " + image_ + " 16M");
    device_ = test::file_device(image_);
    block_size_ = std::stoull(field("Block size:"));
  }
  std::string debugfs(const std::string& request) const {
    return test::must_run("PATH=$PATH:/usr/sbin debugfs -R '" + request + "' " + image_ +
                          " 2>/dev/null");
  }
  std::string field(const std::string& name) const {
    const std::string all = test::must_run("PATH=$PATH:/usr/sbin dumpe2fs " + image_ + " 2>&1");
    const std::size_t at = all.find(name);
    EXPECT_NE(at, std::string::npos) << name << " in " << all;
    return at == std::string::npos ? "1024" : all.substr(at + name.size(), 40);
  }
  std::vector<std::uint64_t> blocks(const std::string& path) const {
    std::istringstream text(debugfs("blocks " + path));
    std::vector<std::uint64_t> result;
    for (std::uint64_t block = 0; text >> block;) result.push_back(block);
    return result;
  }
  std::string name(std::uint64_t block) const { return name_of(device_, block, block_size_); }

  test::TemporaryDirectory folder_;
  std::string image_;
  DevicePtr device_;
  std::uint64_t block_size_ = 0;
};

TEST_P(Owner, FilesAndDirectories) {
  const auto large = blocks("/etc/large");
  ASSERT_GT(large.size(), 50U);
  std::size_t data = 0;
  for (const std::uint64_t block : large) {
    const std::string what = name(block);
    if (what == "file /etc/large") {
      ++data;
    } else {
      EXPECT_EQ(what, "block map or attributes of /etc/large") << block;
    }
  }
  EXPECT_EQ(data, (300000 + block_size_ - 1) / block_size_);
  for (const std::uint64_t block : blocks("/etc/deep/small")) {
    EXPECT_EQ(name(block), "file /etc/deep/small");
  }
  ASSERT_FALSE(blocks("/etc/deep").empty());
  EXPECT_EQ(name(blocks("/etc/deep")[0]), "directory /etc/deep");
  EXPECT_EQ(name(blocks("/")[0]), "directory /");
}

TEST_P(Owner, Metadata) {
  EXPECT_EQ(name(block_size_ == 1024 ? 1 : 0), "superblock");
  EXPECT_EQ(name(std::stoull(field("Group descriptors at "))), "group descriptors");
  EXPECT_EQ(name(std::stoull(field("Block bitmap at "))), "block bitmap");
  EXPECT_EQ(name(std::stoull(field("Inode bitmap at "))), "inode bitmap");
  EXPECT_EQ(name(std::stoull(field("Inode table at "))), "inode table");
  const auto journal = blocks("<8>");
  if (!journal.empty()) {
    EXPECT_EQ(name(journal.back()), "journal");
  }
}

TEST_P(Owner, FreeSpaceHasNoName) {
  std::istringstream text(debugfs("ffb 1"));
  const std::string words = text.str();
  const std::size_t colon = words.find(':');
  ASSERT_NE(colon, std::string::npos) << words;
  EXPECT_EQ(name(std::stoull(words.substr(colon + 1))), "");
}

TEST_P(Owner, RangesKeepTheirBounds) {
  const std::vector<ByteRange> ranges{{1024, 512}, {5000, 20000}};
  std::uint64_t bytes = 0;
  for (const NamedRange& range : name_blocks(device_, ranges)) {
    EXPECT_TRUE(range.offset == 1024 || (range.offset >= 5000 && range.offset < 25000));
    bytes += range.length;
  }
  EXPECT_EQ(bytes, 20512U);
}

/// A bad sector in an inode table costs the names of its group, and no time.
class BadSector : public BlockDevice {
 public:
  BadSector(DevicePtr lower, std::uint64_t at)
      : BlockDevice(lower->size()), lower_(std::move(lower)), at_(at) {}
  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    if (offset <= at_ && at_ < offset + length) {
      if (offset != at_) return Extent::in_device(*lower_, offset, at_ - offset);
      ++met;
      throw Error(Fault::io, "a bad sector");
    }
    return Extent::in_device(*lower_, offset, length);
  }
  std::string describe() const override { return "disk"; }
  mutable std::uint64_t met = 0;

 private:
  const DevicePtr lower_;
  const std::uint64_t at_;
};

TEST_P(Owner, ABadSectorInAnInodeTable) {
  const BadSector device(device_, (std::stoull(field("Inode table at ")) + 1) * block_size_);
  const std::vector<ByteRange> ranges{{0, device_->size()}};
  std::uint64_t told = 0;
  std::string names;
  for (const auto& range : find_owners(device, ranges)) {
    told += range.length;
    names += fs::text_of(range.owner) + "\n";
  }
  EXPECT_EQ(told, device_->size());
  EXPECT_NE(names.find("inode table"), std::string::npos);
  EXPECT_LT(device.met, 100U);
}

TEST(OwnerOfNothing, IsAnError) {
  const auto zeroes = std::make_shared<test::MemoryDevice>(Buffer(1U << 20U));
  const ByteRange range{0, 4096};
  EXPECT_THROW((void)name_blocks(zeroes, {&range, 1}), Error);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Owner,
                         ::testing::Values("-t ext4 -b 4096", "-t ext4 -b 1024", "-t ext2 -b 1024",
                                           "-t ext3 -b 4096"));

}  // namespace
}  // namespace peelfs::ext
