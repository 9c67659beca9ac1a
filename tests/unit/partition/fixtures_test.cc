// The partitions of the fixtures, byte for byte as the kernel read them (manifest.json).
#include <gtest/gtest.h>

#include "support/fixtures.h"
#include "unit/partition/table_support.h"

namespace peelfs::test {
namespace {

using nlohmann::json;

class PartitionFixtures : public testing::Test {
 protected:
  void expect_partitions(const std::string& fixture, const std::vector<unsigned>& numbers) {
    const json& oracle = fixture_manifest().at(fixture).at("oracle");
    const Peeled peeled = peel(file_device(fixture_image(fixture)));
    EXPECT_EQ(peeled.row, "gpt");
    EXPECT_EQ(peeled.reason(), "");
    EXPECT_EQ(peeled.list().size(), numbers.size());
    for (const unsigned number : numbers) {
      const json& expected = oracle.at("p" + std::to_string(number));
      const Inner& inner = peeled.at(number);
      EXPECT_EQ(inner.device->size(), expected.at("size").get<std::uint64_t>()) << number;
      EXPECT_EQ(inner.device->sector_size(), expected.at("logical_sector").get<unsigned>())
          << number;
      EXPECT_EQ(sha256(*inner.device), expected.at("sha256").get<std::string>()) << number;
      EXPECT_FALSE(inner.trouble) << number;
    }
  }
};

TEST_F(PartitionFixtures, Gpt4k) {
  expect_partitions("gpt4k", {1, 2, 3});
  const Peeled peeled = peel(file_device(fixture_image("gpt4k")));
  EXPECT_EQ(peeled.claim.uuid, "e43c1ccb-0d42-43be-b3fd-e624aae31acf");
  EXPECT_EQ(peeled.at(1).partlabel, "EFI System");
  EXPECT_EQ(peeled.at(2).partlabel, "r\xc3\xb6\xc3\xb6t 4k");
  EXPECT_EQ(peeled.at(3).partlabel, "lvm4k");
}

TEST_F(PartitionFixtures, GptHybrid) {
  expect_partitions("gpthybrid", {1, 2, 3, 7});
  EXPECT_EQ(peel(file_device(fixture_image("gpthybrid"))).at(7).partlabel, "seven");
}

// Whole disks that hold something else than a table.
TEST_F(PartitionFixtures, OthersAreNotClaimed) {
  for (const char* name : {"variant1", "variant3", "luks1-aesxts", "luks2-512-argon2id",
                           "dirtyext4", "fslvs", "span-a", "r1-a", "r1v09-a", "r5-b", "bt-a"}) {
    const std::string path = fixture_image(name);
    ASSERT_FALSE(path.empty()) << name;
    EXPECT_EQ(peel(file_device(path)).row, "") << name;
  }
}

}  // namespace
}  // namespace peelfs::test
