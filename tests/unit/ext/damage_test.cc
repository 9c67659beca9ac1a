// Each structure, wrong in each way it can be: the reason says what was found and expected, and no
// byte comes back that the file does not have.
#include <ext2fs/ext2fs.h>

#include "ext/ext_disk.h"
#include "ext_support.h"
#include "peelfs/error.h"

namespace peelfs::test {
namespace {

using ::testing::Test;

/// A small filesystem with disk images, made without privileges, whose bytes a test changes.
class Damage : public Test {
 protected:
  void SetUp() override {
    if (!have_program("mke2fs") || !have_program("debugfs")) {
      GTEST_SKIP() << "needs mke2fs and debugfs (e2fsprogs)";
    }
  }

  /// Without checksums, so that the structure itself has to give the damage away.
  void make(const std::string& options = "-t ext4 -b 1024 -O ^metadata_csum,^64bit") {
    const std::string tree = directory_ / "tree";
    must_run("mkdir -p '" + tree + "/dir'");
    // One kibibyte of data in every two: an extent tree with two levels below the inode.
    const Buffer bytes = pattern(1024, 1);
    for (std::uint64_t i = 0; i < 600; ++i) write_at(tree + "/many.img", i * 2048, bytes);
    write_at(tree + "/dir/plain.img", 0, pattern(100'000, 2));
    image_path_ = directory_ / "image";
    ASSERT_TRUE(make_filesystem(image_path_, "8M", options + " -d '" + tree + "'"));
    device_ = std::make_shared<MemoryDevice>(read_file(image_path_));
  }

  std::string debugfs(const std::string& command) {
    return must_run("/sbin/debugfs -R '" + command + "' '" + image_path_ + "' 2>/dev/null");
  }

  /// Where the inode of a path stands in the image.
  std::size_t inode_at(const std::string& path) {
    const std::string text = debugfs("imap " + path);
    // "... located at block 38, offset 0x0080"
    const auto block = std::stoul(text.substr(text.find("block ", text.find("located")) + 6));
    const auto offset = std::stoul(text.substr(text.find("offset ") + 7), nullptr, 16);
    return block * block_size() + offset;
  }
  std::size_t i_block_at(const std::string& path) { return inode_at(path) + 0x28; }
  std::size_t block_size() const { return 1024U << get32(bytes(), 1024 + 0x18); }

  /// First block of a directory.
  std::size_t directory_block_at(const std::string& path) {
    return std::stoul(debugfs("bmap " + path + " 0")) * block_size();
  }

  Buffer& bytes() const { return device_->bytes(); }
  SeenImage see(const Limits& limits = {}) const { return SeenImage(device_, limits); }
  std::string failure(const std::string& path) const {
    return read_failure(*see().at(path).device);
  }
  static ::testing::AssertionResult says(const std::string& text,
                                         const std::vector<std::string>& parts) {
    for (const std::string& part : parts) {
      if (text.find(part) == std::string::npos) {
        return ::testing::AssertionFailure()
               << "\"" << text << "\" does not say \"" << part << "\"";
      }
    }
    return ::testing::AssertionSuccess();
  }

  TemporaryDirectory directory_;
  std::string image_path_;
  std::shared_ptr<MemoryDevice> device_;
};

#define EXPECT_SAYS(text, ...) EXPECT_TRUE(says((text), {__VA_ARGS__}))

TEST_F(Damage, UntouchedImageIsWhole) {
  make();
  EXPECT_EQ(see().trouble(), "");
  EXPECT_EQ(failure("many.img"), "");
  EXPECT_EQ(sha256(*see().at("dir/plain.img").device), sha256(pattern(100'000, 2)));
}

// ---- super block

TEST_F(Damage, SuperBlockFields) {
  make();
  const Identity ext4{"ext4", "filesystem", "", "", "", ""};
  const struct {
    std::size_t at;
    std::uint32_t value;
    std::vector<std::string> reason;
  } cases[] = {
      {0x18, 7, {"s_log_block_size", "found 7", "expected 0 to 6"}},
      {0x18, 0xffffffff, {"s_log_block_size", "found 4294967295"}},
      {0x20, 0, {"s_blocks_per_group", "found 0", "1 to 8192"}},
      {0x20, 8193, {"s_blocks_per_group", "found 8193"}},
      {0x28, 0, {"s_inodes_per_group", "found 0"}},
      {0x28, 8193, {"s_inodes_per_group", "found 8193"}},
      {0x14, 8192, {"s_first_data_block", "found 8192 of 8192 blocks"}},
      {0x14, 2, {"s_first_data_block"}},
      {0x58, 100, {"s_inode_size", "found 100", "power of two"}},
      {0x58, 2048, {"s_inode_size", "found 2048"}},
  };
  const Buffer good = bytes();
  for (const auto& [at, value, reason] : cases) {
    bytes() = good;
    put32(bytes(), 1024 + at, value);
    try {
      const SeenImage seen(device_, {}, ext4);
      ADD_FAILURE() << "accepted " << value << " at " << hex(at);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::damaged);
      EXPECT_TRUE(says(error.what(), reason));
    }
    EXPECT_FALSE(SeenImage(device_).claimed()) << "nobody says that it is one";
  }
}

TEST_F(Damage, SuperBlockThatIsNone) {
  make();
  const Buffer good = bytes();
  put16(bytes(), 1024 + 0x38, 0xef54);
  EXPECT_FALSE(see().claimed());
  bytes() = good;
  put32(bytes(), 1024 + 0x60, get32(bytes(), 1024 + 0x60) | ext::incompat_journal_dev);
  EXPECT_FALSE(see().claimed()) << "an external journal";
  bytes().resize(2000);
  EXPECT_FALSE(SeenImage(std::make_shared<MemoryDevice>(bytes())).claimed());
  EXPECT_FALSE(SeenImage(std::make_shared<MemoryDevice>(Buffer{})).claimed());
}

TEST_F(Damage, OthersAroundItHaveIt) {
  make();
  const Identity raid{"linux_raid_member", "raid", "", "", "", ""};
  EXPECT_FALSE(SeenImage(device_, {}, raid).claimed());
}

TEST_F(Damage, UnknownFeaturesAreNamed) {
  make();
  for (const auto& [bit, name] : {std::pair<std::uint32_t, std::string>{0x1, "compression"},
                                  {0x1000, "dirdata"},
                                  {0x80000000U, "bit 31"}}) {
    Buffer& image = bytes();
    const std::uint32_t before = get32(image, 1024 + 0x60);
    put32(image, 1024 + 0x60, before | bit);
    try {
      (void)see();
      ADD_FAILURE() << "opened with " << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::unsupported);
      EXPECT_SAYS(error.what(), name);
    }
    put32(image, 1024 + 0x60, before);
  }
}

TEST_F(Damage, AbsurdNumberOfGroupsTakesNoMemory) {
  make("-t ext4 -b 1024 -O ^metadata_csum,64bit");
  put32(bytes(), 1024 + 0x04, 0xffffffff);
  put32(bytes(), 1024 + 0x150, 0xffff);
  EXPECT_THROW(
      {
        try {
          (void)see();
        } catch (const Error& error) {
          EXPECT_SAYS(error.what(), "too many block groups", "expected at most");
          throw;
        }
      },
      Error);
}

TEST_F(Damage, SuperBlockChecksum) {
  make("-t ext4 -b 1024");
  put32(bytes(), 1024 + 0x40, 12345);  // s_lastcheck
  const SeenImage seen = see();
  EXPECT_SAYS(seen.trouble(), "damaged: ", "super block fails its checksum");
  EXPECT_EQ(sha256(*seen.at("dir/plain.img").device), sha256(pattern(100'000, 2)));
}

TEST_F(Damage, NotesOfTheSuperBlock) {
  make();
  const Buffer good = bytes();
  put32(bytes(), 1024 + 0x60, get32(bytes(), 1024 + 0x60) | ext::incompat_recover);
  SeenImage seen = see();
  EXPECT_SAYS(seen.trouble(), "note: journal needs recovery", "e2fsck");
  EXPECT_EQ(seen.at("many.img").trouble->state, "note");
  EXPECT_SAYS(seen.at("many.img").trouble->reason, "journal needs recovery");
  Limits no_search;
  no_search.search_depth = 0;
  EXPECT_SAYS(see(no_search).trouble(), "note: journal needs recovery");
  EXPECT_TRUE(see(no_search).files().empty());

  bytes() = good;
  put16(bytes(), 1024 + 0x3a, 0);
  EXPECT_SAYS(see().trouble(), "note: not cleanly unmounted");
  put16(bytes(), 1024 + 0x3a, 3);
  EXPECT_SAYS(see().trouble(), "note: the kernel has recorded errors");
}

TEST_F(Damage, LargerThanItsDevice) {
  make();
  const std::string digest = sha256(*see().at("dir/plain.img").device);
  // Whatever lies there is gone, the rest is not.
  bytes().resize(bytes().size() / 2);
  device_ = std::make_shared<MemoryDevice>(bytes());
  const SeenImage seen = see();
  EXPECT_SAYS(seen.trouble(), "damaged: ", "larger than its device", "found 4194304 bytes",
              "expected 8388608");
  EXPECT_EQ(sha256(*seen.at("dir/plain.img").device), digest);
  // An extent behind the end fails where it is read, and only there.
  const std::size_t root = i_block_at("/dir/plain.img");
  put32(bytes(), root + 12 + 8, 8000);
  EXPECT_SAYS(failure("dir/plain.img"), "beyond the end of the device", "found byte 8192000",
              "expected below 4194304", "truncated");
}

// ---- groups and inodes

TEST_F(Damage, GroupDescriptorChecksum) {
  make("-t ext4 -b 1024 -O ^metadata_csum,^64bit,uninit_bg");
  put16(bytes(), 2048 + 0x10, 1);  // bg_used_dirs_count_lo
  const SeenImage seen = see();
  EXPECT_SAYS(seen.trouble(), "damaged: ", "descriptor of block group 0 fails its checksum",
              "found 0x", "expected 0x");
  EXPECT_TRUE(seen.files().empty());
}

TEST_F(Damage, InodeTableOutsideOfTheFilesystem) {
  make();
  put32(bytes(), 2048 + 0x8, 0x7fffffff);  // bg_inode_table_lo
  EXPECT_SAYS(see().trouble(), "damaged: ", "inode 2 cannot be read", "found ");
}

TEST_F(Damage, InodeChecksum) {
  make("-t ext4 -b 1024");
  put32(bytes(), inode_at("/many.img") + 0x08, 1);  // i_atime
  const SeenImage seen = see();
  const Inner& inner = seen.at("many.img");
  EXPECT_EQ(inner.trouble->state, "damaged");
  EXPECT_SAYS(inner.trouble->reason, " cannot be read", "checksum");
  EXPECT_SAYS(seen.trouble(), "/many.img: ");
  EXPECT_EQ(failure("dir/plain.img"), "") << "the others are not affected";
}

TEST_F(Damage, InodesThatAreNotInUseOrDoNotExist) {
  make();
  const std::size_t links = inode_at("/many.img") + 0x1a;
  put16(bytes(), links, 0);
  EXPECT_SAYS(see().at("many.img").trouble->reason, "is not in use", "0 links");
  put16(bytes(), links, 1);

  const std::size_t block = directory_block_at("/dir");
  put32(bytes(), block + 24, 0x7fffffff);  // behind "." and ".."
  EXPECT_SAYS(see().at("dir/plain.img").trouble->reason, "inode 2147483647 does not exist",
              "expected 1 to ");
}

TEST_F(Damage, ImpossibleSizes) {
  make();
  const std::size_t high = inode_at("/many.img") + 0x6c;  // i_size_high
  put32(bytes(), high, 0x80000000U);
  EXPECT_SAYS(see().at("many.img").trouble->reason, "impossible size", "less than 2^63");
  put32(bytes(), high, 0x7fffffffU);
  const DevicePtr device = see().at("many.img").device;
  EXPECT_EQ(device->size() >> 32U, 0x7fffffffU);
  EXPECT_THROW(
      {
        try {
          (void)device->map(device->size() - 1, 1);
        } catch (const Error& error) {
          EXPECT_SAYS(error.what(), "longer than an extent tree can map", "2^32");
          throw;
        }
      },
      Error);
}

TEST_F(Damage, FilesThatTheFilesystemTransforms) {
  make();
  const std::size_t flags = inode_at("/many.img") + 0x20;
  const std::uint32_t before = get32(bytes(), flags);
  put32(bytes(), flags, before | ext::flag_encrypted);
  EXPECT_EQ(see().at("many.img").trouble->state, "unsupported");
  EXPECT_SAYS(see().at("many.img").trouble->reason, "fscrypt");
  EXPECT_SAYS(failure("many.img"), "unsupported: ", "encrypted");
  put32(bytes(), flags, before | ext::flag_compressed);
  EXPECT_SAYS(see().at("many.img").trouble->reason, "e2compr");
  put32(bytes(), flags, before | ext::flag_ea_inode);
  EXPECT_SAYS(see().at("many.img").trouble->reason, "extended attribute");
  put32(bytes(), flags, before | ext::flag_inline_data);
  EXPECT_SAYS(see().at("many.img").trouble->reason, "inline data");
  put32(bytes(), flags, before);

  put32(bytes(), inode_at("/dir") + 0x20, ext::flag_encrypted | ext::flag_extents);
  EXPECT_SAYS(see().trouble(), "note: /dir was not searched", "names in it are encrypted");
}

TEST_F(Damage, RootIsNoDirectory) {
  make();
  put16(bytes(), inode_at("/"), 0x81a4);
  EXPECT_SAYS(see().trouble(), "damaged: ", "root of the filesystem is no directory");
}

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
  // Three levels that are all the same block: it ends after three, at whatever number stands there.
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
  // The super block itself: nobody can say what it is, and that is an error.
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
