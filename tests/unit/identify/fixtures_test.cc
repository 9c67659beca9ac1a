// identify() against what the kernel's own tools said of the fixtures (manifest.json).
#include <gtest/gtest.h>

#include <sstream>

#include "identify/identify.h"
#include "peelfs/devices.h"
#include "support/fixtures.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

using nlohmann::json;

void expect_as_oracle(const BlockDevice& device, const json& oracle, const std::string& what) {
  EXPECT_EQ(device.size(), oracle.at("size").get<std::uint64_t>()) << what;
  const Identity identity = identify(device);
  EXPECT_EQ(identity.type, oracle.at("fs_type")) << what;
  EXPECT_EQ(identity.label, oracle.at("label")) << what;
  EXPECT_EQ(identity.uuid, oracle.at("uuid")) << what;
  EXPECT_EQ(identity.pttype, oracle.at("pttype")) << what;
}

TEST(IdentifyFixtures, WholeDisks) {
  const json& fixtures = fixture_manifest();
  int seen = 0;
  for (const auto& [name, fixture] : fixtures.items()) {
    if (fixture.at("images").size() != 1 || !fixture.at("oracle").contains("disk")) continue;
    const json& image = fixture.at("images").at(0);
    const std::string path = fixture_image(image.at("name"));
    if (path.empty()) continue;  // left out
    expect_as_oracle(*file_device(path), fixture.at("oracle").at("disk"), name);
    ++seen;
  }
  EXPECT_GE(seen, 6);
}

// LVs that are one linear segment on the only disk: their place is in the device-mapper table.
TEST(IdentifyFixtures, LinearVolumes) {
  const json& fixtures = fixture_manifest();
  int seen = 0;
  for (const auto& [name, fixture] : fixtures.items()) {
    if (fixture.at("images").size() != 1) continue;
    const json& oracle = fixture.at("oracle");
    if (oracle.contains("disk") && oracle.at("disk").at("fs_type") != "LVM2_member") continue;
    for (const auto& [key, volume] : oracle.items()) {
      if (!volume.contains("dm_table") || !volume.at("dm_table").is_string()) continue;
      std::istringstream table(volume.at("dm_table").get<std::string>());
      std::uint64_t start = 0;
      std::uint64_t sectors = 0;
      std::uint64_t offset = 0;
      std::string target;
      std::string device;
      std::string rest;
      table >> start >> sectors >> target >> device >> offset;
      std::getline(table, rest);
      // 8:x is a disk, and ";" ends the only segment.
      if (target != "linear" || !device.starts_with("8:") || rest != ";") continue;
      const std::string path = fixture_image(fixture.at("images").at(0).at("name"));
      if (path.empty()) continue;  // left out
      const DevicePtr disk = file_device(path);
      if (offset * 512 + sectors * 512 > disk->size()) continue;
      expect_as_oracle(*make_slice(disk, offset * 512, sectors * 512, key), volume,
                       name + " " + key);
      ++seen;
    }
  }
  EXPECT_GT(seen, 5);
}

// Partitions, at the places that partx (libblkid's own reader) tells.
TEST(IdentifyFixtures, Partitions) {
  if (!have_program("partx")) GTEST_SKIP() << "partx is not installed";
  const json& fixtures = fixture_manifest();
  int seen = 0;
  for (const std::string name : {"gpt4k", "gpthybrid"}) {
    const json& fixture = fixtures.at(name);
    const auto block = fixture.at("images").at(0).at("logical_block_size").get<unsigned>();
    const std::string path = fixture_image(name);
    std::istringstream lines(
        must_run("partx -rg -S " + std::to_string(block) + " -o NR,START,SECTORS '" + path + "'"));
    std::string number;
    std::uint64_t start = 0;
    std::uint64_t sectors = 0;
    while (lines >> number >> start >> sectors) {
      const DevicePtr slice = make_concat({{file_device(path), start * 512, sectors * 512}},
                                          Error(Fault::io, "none"), "p" + number, block);
      expect_as_oracle(*slice, fixture.at("oracle").at("p" + number), name + " p" + number);
      ++seen;
    }
  }
  EXPECT_EQ(seen, 7);
}

}  // namespace
}  // namespace peelfs::test
