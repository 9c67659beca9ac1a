// The super block, the groups and the inodes, wrong in each way they can be: the reason says what
// was found and expected, and no byte comes back that the file does not have.
#include "damage.h"

namespace peelfs::test {
namespace {

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
  put32(bytes(), 1024 + 0x60, get32(bytes(), 1024 + 0x60) | ext::kIncompatJournalDev);
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
  put32(bytes(), 1024 + 0x60, get32(bytes(), 1024 + 0x60) | ext::kIncompatRecover);
  SeenImage seen = see();
  EXPECT_SAYS(seen.trouble(), "note: journal needs recovery", "e2fsck");
  EXPECT_EQ(seen.at("many.img").trouble->state, Trouble::note);
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
  // Files that lie there are lost, the others are not.
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
  EXPECT_EQ(inner.trouble->state, Trouble::damaged);
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
  put32(bytes(), flags, before | ext::kFlagEncrypted);
  EXPECT_EQ(see().at("many.img").trouble->state, Trouble::unsupported);
  EXPECT_SAYS(see().at("many.img").trouble->reason, "fscrypt");
  EXPECT_SAYS(failure("many.img"), "unsupported: ", "encrypted");
  put32(bytes(), flags, before | ext::kFlagCompressed);
  EXPECT_SAYS(see().at("many.img").trouble->reason, "e2compr");
  put32(bytes(), flags, before | ext::kFlagEaInode);
  EXPECT_SAYS(see().at("many.img").trouble->reason, "extended attribute");
  put32(bytes(), flags, before | ext::kFlagInlineData);
  EXPECT_SAYS(see().at("many.img").trouble->reason, "inline data");
  put32(bytes(), flags, before);

  put32(bytes(), inode_at("/dir") + 0x20, ext::kFlagEncrypted | ext::kFlagExtents);
  EXPECT_SAYS(see().trouble(), "note: /dir was not searched", "names in it are encrypted");
}

TEST_F(Damage, RootIsNoDirectory) {
  make();
  put16(bytes(), inode_at("/"), 0x81a4);
  EXPECT_SAYS(see().trouble(), "damaged: ", "root of the filesystem is no directory");
}

}  // namespace
}  // namespace peelfs::test
