// Block maps and directories, wrong in each way they can be.
#include "damage.h"

namespace peelfs::test {
namespace {

// ---- extent trees

TEST_F(Damage, ExtentRoot) {
  make();
  const std::size_t root = i_block_at("/dir/plain.img");
  const Buffer good = bytes();
  const struct {
    std::size_t at;
    std::uint16_t value;
    std::vector<std::string> reason;
  } cases[] = {
      {0, 0xf30b, {"no magic", "found 0xf30b", "expected 0xf30a"}},
      {2, 5, {"counts wrongly", "found 5 entries of 4", "expected room for at most 4"}},
      {4, 5, {"counts wrongly", "of 5"}},
      {4, 0, {"counts wrongly", "of 0"}},
      {6, 6, {"eh_depth", "found 6"}},
      {6, 0xffff, {"eh_depth", "found 65535"}},
      {12 + 4, 0, {"out of order or empty", "entry 0 covers blocks 0 to 0"}},
      {12 + 6, 0x8000, {"an extent lies outside", "expected blocks 2 to 8192"}},
  };
  for (const auto& [at, value, reason] : cases) {
    bytes() = good;
    put16(bytes(), root + at, value);
    EXPECT_TRUE(says(failure("dir/plain.img"), reason)) << at;
  }
  bytes() = good;
  put32(bytes(), root + 12 + 8, 1);  // ee_start: the super block's
  EXPECT_SAYS(failure("dir/plain.img"), "an extent lies outside", "found blocks 1 to ");
  put32(bytes(), root + 12 + 8, 8191);
  EXPECT_SAYS(failure("dir/plain.img"), "an extent lies outside", "found blocks 8191 to ");
}

class DamagedTree : public Damage {
 protected:
  void SetUp() override {
    Damage::SetUp();
    if (IsSkipped()) return;
    make();
    root_ = i_block_at("/many.img");
    // 600 extents: an index in the inode, and leaves of 84 two levels below.
    ASSERT_GE(get16(bytes(), root_ + 6), 1U);
    node_ = get32(bytes(), root_ + 12 + 4) * 1024ULL;
    ASSERT_EQ(get16(bytes(), node_), 0xf30a);
  }
  std::size_t root_ = 0;
  std::size_t node_ = 0;  ///< what the first index entry of the root points to
};

TEST_F(DamagedTree, NodeThatPointsToItself) {
  // The loop ends because each level must say that it is one lower.
  const std::size_t depth = get16(bytes(), root_ + 6);
  put16(bytes(), node_ + 6, static_cast<std::uint16_t>(depth));
  put32(bytes(), node_ + 12 + 4, static_cast<std::uint32_t>(node_ / 1024));
  EXPECT_SAYS(failure("many.img"), "wrong depth", "found " + std::to_string(depth),
              "expected " + std::to_string(depth - 1));
}

TEST_F(DamagedTree, OverlapWithinANode) {
  put32(bytes(), node_ + 24, 0);  // the second entry begins where the first did
  EXPECT_SAYS(failure("many.img"), "overlap", "entry 1 covers blocks 0 to ",
              "expected a beginning");
}

TEST_F(DamagedTree, NodeOutsideOfWhatItsParentSays) {
  put32(bytes(), root_ + 12, 1);  // ei_block: the child begins before it
  EXPECT_SAYS(failure("many.img"), "covers what its parent gave to others",
              "expected within 1 to ");
}

TEST_F(DamagedTree, NodeOutsideOfTheFilesystem) {
  put32(bytes(), root_ + 12 + 4, 0x7fffffff);
  EXPECT_SAYS(failure("many.img"), "a node of an extent tree lies outside",
              "found blocks 2147483647", "expected blocks 2 to 8192");
}

TEST_F(DamagedTree, EmptyIndex) {
  put16(bytes(), root_ + 2, 0);
  EXPECT_SAYS(failure("many.img"), "impossible eh_depth", "with 0 entries");
}

TEST_F(DamagedTree, DamageInOneLeafLeavesTheOthers) {
  const Buffer whole = read_bytes(*see().at("many.img").device, 0, 599 * 2048 + 1024);
  std::size_t leaf = node_;
  while (get16(bytes(), leaf + 6) > 0) leaf = get32(bytes(), leaf + 12 + 4) * 1024ULL;
  put16(bytes(), leaf, 0);
  const DevicePtr device = see().at("many.img").device;
  EXPECT_THROW((void)read_bytes(*device, 0, 1), Error);
  const std::size_t last = whole.size() - 1024;
  const Buffer rest = read_bytes(*device, last, 1024);
  EXPECT_EQ(sha256(rest), sha256(Bytes(whole).subspan(last)));
}

TEST_F(Damage, ExtentNodeChecksum) {
  make("-t ext4 -b 1024");
  const std::size_t node = get32(bytes(), i_block_at("/many.img") + 12 + 4) * 1024ULL;
  ASSERT_EQ(get16(bytes(), node), 0xf30a);
  put32(bytes(), node + 8, 99);  // eh_generation: nothing that any other check looks at
  EXPECT_SAYS(failure("many.img"), "fails its checksum", "found 0x", "expected 0x");
}

// ---- direct and indirect blocks

TEST_F(Damage, BlocksOfABlockMap) {
  make("-t ext2 -b 1024");
  const std::size_t root = i_block_at("/many.img");
  const Buffer good = bytes();
  put32(bytes(), root, 8192);
  EXPECT_SAYS(failure("many.img"), "a block of the file lies outside", "found blocks 8192",
              "expected blocks 2 to 8192");
  put32(bytes(), root, 1);
  EXPECT_SAYS(failure("many.img"), "a block of the file lies outside", "found blocks 1 ");
  bytes() = good;
  for (const std::size_t level : {12U, 13U}) {
    put32(bytes(), root + 4 * level, 0xffffffff);
    EXPECT_SAYS(failure("many.img"), "an indirect block lies outside", "found blocks 4294967295");
    bytes() = good;
  }
  const std::size_t indirect = get32(bytes(), root + 4 * 12) * 1024ULL;
  put32(bytes(), indirect, 0x12345678);
  EXPECT_SAYS(failure("many.img"), "a block of the file lies outside", "found blocks 305419896");
  EXPECT_EQ(read_bytes(*see().at("many.img").device, 0, 12 * 1024).size(), 12U * 1024)
      << "what lies before the damage can still be read";
}

TEST_F(Damage, BlockMapThatIsTooShortForTheSize) {
  make("-t ext2 -b 1024");
  put32(bytes(), inode_at("/many.img") + 0x6c, 0x7fffffffU);
  const DevicePtr device = see().at("many.img").device;
  try {
    (void)device->map(device->size() - 1, 1);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_SAYS(error.what(), "longer than its indirect blocks can map", "expected below 16843020");
  }
}

TEST_F(Damage, IndirectBlocksThatLoop) {
  make("-t ext2 -b 1024");
  // Three levels that are all the same block: the walk ends after three, with the number that it
  // finds there.
  const std::size_t root = i_block_at("/many.img");
  const std::uint32_t loop = get32(bytes(), root + 4 * 13);
  put32(bytes(), root + 4 * 14, loop);
  for (std::size_t i = 0; i < 256; ++i) put32(bytes(), loop * 1024ULL + 4 * i, loop);
  put32(bytes(), inode_at("/many.img") + 0x6c, 3);
  const DevicePtr device = see().at("many.img").device;
  EXPECT_EQ(device->map(70'000ULL * 1024, 1).offset, loop * 1024ULL);
}

// ---- blocks beyond 2^32, and sectors that cannot be read

/// A device that is larger than the image on it, and has one bad range.
class Around : public BlockDevice {
 public:
  Around(DevicePtr image, std::uint64_t size, std::uint64_t bad, std::uint64_t bad_length)
      : BlockDevice(size), image_(std::move(image)), bad_(bad), bad_end_(bad + bad_length) {}
  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    if (offset >= bad_ && offset < bad_end_) {
      throw Error(Fault::io, "cannot read").found("bad sector").with_errno(EIO);
    }
    if (offset < bad_) length = std::min(length, bad_ - offset);
    if (offset >= image_->size()) return Extent::zeroes(length);
    return Extent::in_device(*image_, offset, std::min(length, image_->size() - offset));
  }
  std::string describe() const override { return "disk"; }

 private:
  const DevicePtr image_;
  const std::uint64_t bad_, bad_end_;
};

TEST_F(Damage, BlocksWithNumbersOfFortyEightBits) {
  make("-t ext4 -b 1024 -O ^metadata_csum,64bit");
  put32(bytes(), 1024 + 0x150, 1);  // s_blocks_count_hi
  // As many inodes as that many groups have, or it would contradict itself.
  put32(bytes(), 1024, ((1U << 19U) + 1) * get32(bytes(), 1024 + 0x28));
  const std::size_t root = i_block_at("/dir/plain.img");
  const std::uint32_t low = get32(bytes(), root + 12 + 8);
  put16(bytes(), root + 12 + 6, 1);  // ee_start_hi
  put32(bytes(), root + 12 + 8, low - 7);
  const auto disk = std::make_shared<Around>(device_, 5ULL << 40U, 4ULL << 40U, 0);
  const SeenImage seen(disk);
  EXPECT_EQ(seen.trouble(), "");
  const Extent extent = seen.at("dir/plain.img").device->map(5000, 100);
  EXPECT_EQ(extent.kind, ExtentKind::lower);
  EXPECT_EQ(extent.offset, ((1ULL << 32U) + low - 7) * 1024 + 5000);
}

TEST_F(Damage, BadSectorsCostWhatLiesInThemOnly) {
  make();
  const std::string digest = sha256(*see().at("dir/plain.img").device);
  const std::size_t many = inode_at("/many.img");
  const SeenImage inode(std::make_shared<Around>(device_, 8 << 20, round_down(many, 512), 512));
  EXPECT_NE(inode.trouble().find("bad sector"), std::string::npos) << inode.trouble();
  const std::size_t directory = directory_block_at("/dir");
  const SeenImage names(std::make_shared<Around>(device_, 8 << 20, directory + 512, 512));
  EXPECT_EQ(names.find("dir/plain.img"), nullptr);
  EXPECT_NE(names.find("many.img"), nullptr);
  EXPECT_SAYS(names.trouble(), "damaged: /dir: directory block 0", "bad sector");
  const std::size_t node = get32(bytes(), i_block_at("/many.img") + 12 + 4) * 1024ULL;
  const SeenImage tree(std::make_shared<Around>(device_, 8 << 20, node, 512));
  EXPECT_EQ(tree.trouble(), "") << "block maps are not read before somebody asks";
  EXPECT_SAYS(read_failure(*tree.at("many.img").device), "io: ", "bad sector");
  EXPECT_EQ(sha256(*tree.at("dir/plain.img").device), digest);
  // The super block itself cannot be read: the layer cannot tell what the device is, and throws an
  // error.
  EXPECT_THROW(SeenImage(std::make_shared<Around>(device_, 8 << 20, 1024, 512)), Error);
}

// ---- directories

TEST_F(Damage, DirectoryEntries) {
  make();
  const std::size_t block = directory_block_at("/dir");
  const Buffer good = bytes();
  const struct {
    std::size_t at;
    std::uint16_t value;
    std::vector<std::string> reason;
  } cases[] = {
      {24 + 4, 0, {"leaves its block", "rec_len 0", "at byte 24"}},
      {24 + 4, 10, {"leaves its block", "rec_len 10"}},
      {24 + 4, 0xfffc, {"leaves its block", "rec_len 65532", "at most the 1000 bytes left"}},
      {24 + 4, 16, {"leaves its block", "rec_len 16", "name_len 9"}},
      {24 + 8, 0x2f2f, {"impossible name"}},
      {24 + 8, 0x0041, {"impossible name"}},
  };
  for (const auto& [at, value, reason] : cases) {
    bytes() = good;
    put16(bytes(), block + at, value);
    EXPECT_TRUE(says(see().trouble(), {"damaged: ", "/dir: directory block 0"})) << at;
    EXPECT_TRUE(says(see().trouble(), reason)) << at;
    EXPECT_NE(see().find("many.img"), nullptr) << "other directories are not affected";
  }
}

TEST_F(Damage, DirectoryChecksumStillShowsTheNames) {
  make("-t ext4 -b 1024");
  bytes().at(directory_block_at("/dir") + 1000) ^= std::byte{1};
  const SeenImage seen = see();
  EXPECT_SAYS(seen.trouble(), "damaged: /dir: directory block 0 fails its checksum");
  EXPECT_EQ(sha256(*seen.at("dir/plain.img").device), sha256(pattern(100'000, 2)));
}

TEST_F(Damage, DirectoriesThatContainThemselves) {
  make();
  const std::size_t block = directory_block_at("/dir");
  const auto dir = static_cast<std::uint32_t>(get32(bytes(), block));
  put32(bytes(), block + 24, dir);  // "plain.img" is now /dir itself
  EXPECT_EQ(see().trouble(), "");
  EXPECT_EQ(see().files().size(), 1U);
  put32(bytes(), block + 24, 2);  // and now the root
  EXPECT_EQ(see().files().size(), 1U);
}

TEST_F(Damage, DirectoryOfAbsurdSize) {
  make();
  put32(bytes(), inode_at("/dir") + 0x04, 0xfffffc00U);
  const SeenImage seen = see();
  EXPECT_SAYS(seen.trouble(), "/dir: directory block 1 is a hole");
  EXPECT_NE(seen.find("dir/plain.img"), nullptr);
  put32(bytes(), inode_at("/dir") + 0x04, 1500);
  EXPECT_SAYS(see().trouble(), "no multiple of the block size");
  EXPECT_NE(see().find("dir/plain.img"), nullptr);
}

TEST_F(Damage, DirectoryWhoseBlocksAllRepeat) {
  make("-t ext2 -b 1024");
  // A tree of three levels of pointers to one and the same block: 16 million directory blocks.
  const std::size_t inode = inode_at("/dir");
  const std::uint32_t loop = get32(bytes(), i_block_at("/many.img") + 4 * 12);
  for (std::size_t i = 0; i < 256; ++i) put32(bytes(), loop * 1024ULL + 4 * i, loop);
  for (std::size_t i = 12; i < 15; ++i) put32(bytes(), inode + 0x28 + 4 * i, loop);
  put32(bytes(), inode + 0x04, 0xfffffc00U);
  Limits limits;
  limits.search_files = 1000;
  const SeenImage seen = see(limits);
  EXPECT_SAYS(seen.trouble(), "damaged: ", "directories are too large");
}

}  // namespace
}  // namespace peelfs::test
