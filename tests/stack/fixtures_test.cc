// Every fixture, straight through the engine: exact names, lineage, sizes, digests, identities.
#include <gtest/gtest.h>

#include <set>

#include "peel/peeling.h"
#include "support/fixture_trees.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

class Fixture : public ::testing::TestWithParam<FixtureTree> {
 protected:
  /// Null when the fixture is not in this checkout.
  std::unique_ptr<Peeling> peel() {
    const FixtureTree& tree = GetParam();
    const auto paths = unpacked_sources(tree);
    if (paths.empty()) return nullptr;
    PeelRequest request;
    for (const std::string& path : paths) request.sources.push_back({path, "", false});
    if (tree.fixture == "luks2-detached") {
      request.headers["luks2-det-data"] = fixture_image("luks2-det-header");
    }
    auto keys = std::make_shared<KeyRing>();
    if (tree.fixture == "luks2-keyfile") {
      keys->add_for_all(Secret(read_file(fixture_key("keys/keyfile.bin"))));
    }
    if (const std::string passphrase = passphrase_of(tree.fixture); !passphrase.empty()) {
      keys->add_for_all(Secret(as_bytes(passphrase)));
    }
    return std::make_unique<Peeling>(request, keys);
  }
};

void check_state(const ExpectedDevice& expected, const Node& node) {
  const std::string state = node.trouble ? std::string(state_name(node.trouble->state)) : "";
  const std::string reason = node.trouble ? node.trouble->reason : "";
  if (expected.state != "any") {
    EXPECT_EQ(state, expected.state) << expected.name << ": " << reason;
  }
  if (!state.empty()) {
    EXPECT_GT(reason.size(), 20U) << expected.name << " has no reason worth reading";
  }
}

void check_bytes(const ExpectedDevice& expected, const Node& node, const Truth& truth) {
  EXPECT_EQ(node.device->size(), truth.size) << expected.name;
  if (truth.logical_sector != 0 && expected.state != "unsupported") {
    // A plain file knows nothing of the sectors of the disk that it was; the kernel did.
    if (node.parents.empty()) return;
    EXPECT_EQ(node.device->sector_size(), truth.logical_sector) << expected.name;
  }
  if (expected.state == "unsupported") {
    EXPECT_THROW((void)read_bytes(*node.device, 0, 1), Error) << expected.name;
    return;
  }
  EXPECT_EQ(sha256(*node.device), truth.sha256) << expected.name;
  EXPECT_EQ(node.identity.type, truth.fstype) << expected.name;
  EXPECT_EQ(node.identity.label, truth.label) << expected.name;
  EXPECT_EQ(node.identity.uuid, truth.uuid) << expected.name;
}

TEST_P(Fixture, EveryDeviceExact) {
  const FixtureTree& tree = GetParam();
  const auto peeling = peel();
  if (!peeling) GTEST_SKIP() << "fixture " << tree.fixture << " is not in this checkout";
  const auto catalog = peeling->catalog();

  std::set<std::string> wanted;
  for (const ExpectedDevice& expected : tree.devices) {
    wanted.insert(expected.name);
    const Catalog::Entry* entry = catalog->find(expected.name);
    ASSERT_NE(entry, nullptr) << expected.name << " is not there\n" << tree_json(*catalog);
    const Node& node = *entry->node;
    EXPECT_EQ(node.kind, expected.type) << expected.name;
    std::set<std::string> parents;
    for (const std::uint64_t parent : node.parents) parents.insert(catalog->name_of(parent));
    if (expected.parent.empty()) {
      EXPECT_TRUE(parents.empty()) << expected.name;
    } else {
      EXPECT_TRUE(parents.contains(expected.parent)) << expected.name << " on " << *parents.begin();
    }
    check_state(expected, node);
    if (!expected.oracle.empty())
      check_bytes(expected, node, truth_of(tree.fixture, expected.oracle));
  }
  for (const Catalog::Entry& entry : catalog->devices()) {
    if (!entry.node->component) {
      EXPECT_TRUE(wanted.contains(entry.name)) << entry.name << " is too much";
    }
  }
}

TEST_P(Fixture, EveryDeviceKeepsTheContract) {
  const auto peeling = peel();
  if (!peeling) GTEST_SKIP() << "fixture " << GetParam().fixture << " is not in this checkout";
  for (const Catalog::Entry& entry : peeling->catalog()->devices()) {
    SCOPED_TRACE(entry.name);
    // The contract is about devices that can be read; the large ones are covered by their parts.
    const bool readable = !entry.node->trouble || entry.node->trouble->state == Trouble::note;
    if (readable && entry.node->device->size() <= 64U << 20U) check_contract(*entry.node->device);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Fixture, ::testing::ValuesIn(fixture_trees()),
                         [](const auto& tree) { return test_name(tree.param); });

// The fixtures that no tree is written for are those of layers that come later; a new fixture must
// not be forgotten silently.
TEST(FixtureTrees, EveryFixtureThatIsPeeledHasOne) {
  std::set<std::string> known{"md10chain",  "mdraid0",    "mdraid1v09",  "mdraid5v09", "mdraid10n2",
                              "mdraid10f2", "mdraid5",    "mdraid5ra",   "mdraid4",    "mdraid6",
                              "mdlinear",   "mdraid5deg", "mdraid10deg", "plaincrypt"};
  known.insert(
      {"lvmcachevol",     "lvmwritecache",  "lvmthin2",        "lvmsnap2",       "lvmraiddeg",
       "lvmintegrity",    "lvmpvmove",      "lvmraidsync",     "mdraid5journal", "mdraid5journalwb",
       "mdraid5ppl",      "mdraid6degd",    "mdraid6degp",     "mdraid4deg",     "mdlinear09",
       "mdraid5reshape",  "mdraid1bitmap",  "mdraid1dirty",    "mdimsm",         "mdimsmr1",
       "mdddf",           "luks2-reencmid", "luks2-reencmidj", "luks2-hmacj",    "luks2-hmacnj",
       "luks2-gcm",       "luks2-chacha",   "plaincrypt2",     "bcache",         "fsnest-ntfs",
       "fsnest-vfat",     "fsnest-exfat",   "fsnest-xfs",      "fsnest-btrfs",   "fsnest-btrfs2",
       "fsnest-btrfsdup", "fsnest-f2fs"});
  for (const FixtureTree& tree : fixture_trees()) known.insert(tree.fixture);
  for (const std::string& fixture : manifest_fixtures()) {
    EXPECT_TRUE(known.contains(fixture))
        << fixture << " has no tree in tests/support/fixture_trees.cc";
  }
}

}  // namespace
}  // namespace peelfs::test
