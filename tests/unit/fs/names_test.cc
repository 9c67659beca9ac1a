// What bytes are, in words, for filesystems that are not ext.
#include "fs/names.h"

#include "fs/owner_map.h"
#include "fs_support.h"

namespace peelfs::test {
namespace {

std::string text_of(const std::vector<NamedRange>& named) {
  std::string text;
  for (const NamedRange& range : named) {
    text +=
        std::to_string(range.offset) + "+" + std::to_string(range.length) + " " + range.what + "\n";
  }
  return text;
}

class Names : public ::testing::Test {
 protected:
  void SetUp() override {
    now_.directory(0, "etc", 1);
    now_.file(1, "new", 2, 8192, 1000);
    before_.file(0, "old", 1, 8192, 4096);
    before_.file(0, "gone", 2, 16384, 1024);
  }
  const Disk disk_;
  TestFilesystem now_{disk_.device, 8};
  TestFilesystem before_{disk_.device, 8};
};

TEST_F(Names, OfBlocks) {
  const std::vector<ByteRange> ranges{{0, 100}, {4000, 400}, {8000, 2000}};
  EXPECT_EQ(text_of(fs::name_blocks(now_, ranges)),
            "0+100 inodes\n4000+96 inodes\n4096+304 \n8000+192 \n8192+1024 file /etc/new\n9216+784 "
            "\n");
}

TEST_F(Names, OfChanges) {
  const std::vector<ByteRange> ranges{{8192, 4096}, {16384, 2048}};
  const std::uint64_t size = disk_.device->size();
  EXPECT_EQ(text_of(fs::name_changes({&before_, size}, {&now_, size}, ranges)),
            "8192+1024 file /etc/new\n9216+3072 formerly file /old\n16384+1024 formerly file "
            "/gone\n17408+1024 free space\n");
  EXPECT_EQ(text_of(fs::name_changes({nullptr, size}, {&now_, size}, ranges)),
            "8192+1024 file /etc/new\n9216+3072 free space\n16384+2048 free space\n");
  EXPECT_EQ(
      text_of(fs::name_changes({&before_, size}, {nullptr, size}, ranges)),
      "8192+4096 formerly file /old\n16384+1024 formerly file /gone\n17408+1024 free space\n");
  EXPECT_TRUE(fs::name_changes({nullptr, size}, {nullptr, size}, ranges).empty());
}

TEST_F(Names, OfADeviceThatHasBecomeShorterOrLonger) {
  const std::vector<ByteRange> ranges{{8192, 4096}, {16384, 2048}};
  EXPECT_EQ(text_of(fs::name_changes({&before_, 16384 + 512}, {&now_, 16384 + 1024}, ranges)),
            "8192+1024 file /etc/new\n9216+3072 formerly file /old\n16384+512 formerly file "
            "/gone\n16896+512 free space\n");
  EXPECT_EQ(text_of(fs::name_changes({&before_, 1 << 20}, {&now_, 9000}, ranges)),
            "8192+808 file /etc/new\n");
}

/// A filesystem of which only the owners are known, as of btrfs.
class OwnersOnly : public Filesystem {
 public:
  Abilities abilities() const noexcept override { return {.owners = true}; }
  std::string describe() const override { return "half a filesystem"; }
  std::vector<OwnedRange> owners(std::span<const ByteRange> ranges) const override {
    std::vector<OwnedRange> result;
    for (const ByteRange& range : ranges) {
      append(result, range.offset, range.offset + range.length, {Owner::Kind::data, {}, {}});
    }
    return result;
  }
};

TEST(Abilities, WhatIsNotThereSaysSo) {
  const OwnersOnly filesystem;
  const auto failure = [](const auto& call) -> std::string {
    try {
      call();
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::unsupported);
      return error.what();
    }
  };
  EXPECT_EQ(failure([&] { (void)filesystem.reader(); }),
            "half a filesystem: peelfs cannot list the files of this filesystem");
  EXPECT_NE(failure([&] { (void)filesystem.root(); }), "");
  EXPECT_NE(failure([&] { (void)filesystem.free_space([](const ByteRange&) { return true; }); }),
            "");
  const std::vector<ByteRange> ranges{{0, 10}};
  EXPECT_EQ(text_of(fs::name_blocks(filesystem, ranges)), "0+10 data\n");
}

Filesystem::Owner structure(const char* name) {
  return {Filesystem::Owner::Kind::structure, {}, name};
}

TEST(OwnerMap, TheFirstClaimCountsAndOnlyWantedBlocksAreAskedFor) {
  // Two ranges in one block, one across three, one alone.
  const std::vector<ByteRange> ranges{{10, 5}, {20, 30}, {150, 200}, {1000, 1}};
  fs::OwnerMap map(ranges, 100);
  EXPECT_TRUE(map.wants(0));
  EXPECT_TRUE(map.wants(1));
  EXPECT_TRUE(map.wants(3));
  EXPECT_FALSE(map.wants(4));
  EXPECT_TRUE(map.wants(10));
  EXPECT_FALSE(map.wants(11));
  map.claim(4, 6, [] {
    ADD_FAILURE() << "no such block was asked for";
    return structure("x");
  });
  map.claim(2, 1, [] { return structure("middle"); });
  map.claim(1, ~std::uint64_t{0}, [] { return structure("rest"); });
  std::string text;
  for (const auto& range : map.owners()) {
    text += std::to_string(range.offset) + "+" + std::to_string(range.length) + " " +
            range.owner.name + "\n";
  }
  EXPECT_EQ(text, "10+5 \n20+30 \n150+50 rest\n200+100 middle\n300+50 rest\n1000+1 rest\n");
}

}  // namespace
}  // namespace peelfs::test
