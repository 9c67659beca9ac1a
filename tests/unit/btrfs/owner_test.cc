// What blocks of a btrfs are, against what btrfs-progs says of them.
#include "btrfs/owner.h"

#include <gtest/gtest.h>

#include "btrfs/members.h"
#include "fs/names.h"
#include "support/support.h"

namespace peelfs::btrfs {
namespace {

/// The number behind a word in what a command prints.
std::uint64_t number_behind(const std::string& text, const std::string& word) {
  const std::size_t at = text.find(word);
  if (at == std::string::npos) {
    ADD_FAILURE() << word << " in " << text;
    return 0;
  }
  return std::stoull(text.substr(at + word.size()));
}

class Btrfs : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("mkfs.btrfs") || !test::have_program("btrfs")) {
      GTEST_SKIP() << "btrfs-progs is not installed";
    }
    image_ = folder_ / "fs";
    test::must_run("mkdir " + (folder_ / "tree") + "; head -c 400000 /dev/urandom >" +
                   (folder_ / "tree/large"));
    test::must_run("truncate -s 200M " + image_ + "; mkfs.btrfs -q -m dup -r " +
                   (folder_ / "tree") + " " + image_);
    device_ = test::file_device(image_);
  }
  std::string name(std::uint64_t offset) const {
    const ByteRange range{offset, 4096};
    const auto owners = find_owners(*device_, {&range, 1});
    return owners.size() == 1 ? fs::text_of(owners[0].owner) : "not one name";
  }
  /// Where the root node of a tree lies on the device.
  std::uint64_t place_of(const std::string& tree) const {
    const std::uint64_t logical =
        number_behind(test::must_run("btrfs inspect-internal dump-tree -t " + tree + " " + image_ +
                                     " | grep -m1 -E '^(leaf|node) [0-9]' | sed 's/^/node /'"
                                     " | sed -E 's/^node (leaf|node) /at=/'"),
                      "at=");
    return number_behind(
        test::must_run("btrfs-map-logical -l " + std::to_string(logical) + " " + image_ + " 2>&1"),
        "physical ");
  }
  test::TemporaryDirectory folder_;
  std::string image_;
  DevicePtr device_;
};

TEST_F(Btrfs, TreesAreNamed) {
  if (!test::have_program("btrfs-map-logical")) GTEST_SKIP() << "no btrfs-map-logical";
  EXPECT_EQ(name(place_of("root")), "root tree");
  EXPECT_EQ(name(place_of("extent")), "extent tree");
  EXPECT_EQ(name(place_of("chunk")), "chunk tree");
  EXPECT_EQ(name(place_of("fs")), "filesystem tree");
  EXPECT_EQ(name(place_of("csum")), "checksum tree");
}

TEST_F(Btrfs, SuperblocksAndData) {
  EXPECT_EQ(name(64U << 10U), "superblock");
  EXPECT_EQ(name(64U << 20U), "superblock");
  EXPECT_EQ(name(199U << 20U), "data");
}

TEST_F(Btrfs, Membership) {
  const auto known = membership(*device_);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->devices, 1U);
  EXPECT_EQ(known->device_id, 1U);
  const std::string super =
      test::must_run("btrfs inspect-internal dump-super " + image_ + " | grep '^fsid'");
  EXPECT_NE(super.find(known->uuid), std::string::npos) << super;
}

TEST(NoBtrfs, SaysSo) {
  const test::MemoryDevice zeroes(Buffer(1U << 20U));
  const ByteRange range{65536, 4096};
  EXPECT_TRUE(find_owners(zeroes, {&range, 1}).empty());
  EXPECT_FALSE(membership(zeroes));
}

}  // namespace
}  // namespace peelfs::btrfs
