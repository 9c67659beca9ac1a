// Which devices may be written, and which share bytes: on trees made by hand.
#include "peel/writability.h"

#include <gtest/gtest.h>

#include "peelfs/devices.h"
#include "peelfs/host_file.h"
#include "support/support.h"

namespace peelfs {
namespace {

using Ids = std::set<std::uint64_t>;

class Writability : public ::testing::Test {
 protected:
  void SetUp() override {
    test::write_file(directory_ / "disk", Buffer(1 << 20));
    disk_ = make_storage_device(HostFile::open(directory_ / "disk", HostFile::Access::read_write));
    add(1, "d", "disk", disk_, {}).layer = "mbr";
  }
  Node& add(std::uint64_t id, const std::string& name, const std::string& kind, DevicePtr device,
            std::vector<std::uint64_t> parents) {
    auto node = std::make_shared<Node>();
    node->id = id;
    node->name = node->stem = name;
    node->kind = kind;
    node->path = {name};
    node->device = std::move(device);
    for (const std::uint64_t parent : parents) nodes_.at(parent)->children.push_back(id);
    node->parents = std::move(parents);
    return *nodes_.emplace(id, node).first->second;
  }
  Node& part(std::uint64_t id, const std::string& name, std::uint64_t begin, std::uint64_t size) {
    return add(id, name, "part", make_slice(disk_, begin, size, name), {1});
  }
  Tree tree() const {
    Tree tree;
    for (const auto& [id, node] : nodes_) tree.nodes.emplace(id, node);
    tree.roots = {1};
    return tree;
  }
  /// @return the reason, or "" when it can be written
  std::string why(const std::string& name, const WritePolicy& policy) const {
    const Catalog catalog(std::make_shared<const Tree>(tree()), nullptr);
    const Catalog::Entry* entry = catalog.find(name);
    if (entry == nullptr) return "no such device";
    return why_read_only(catalog, *entry, policy).value_or("");
  }

  test::TemporaryDirectory directory_;
  DevicePtr disk_;
  std::map<std::uint64_t, std::shared_ptr<Node>> nodes_;
};

TEST_F(Writability, PartitionsThatLieApartShareNothing) {
  part(2, "p1", 4096, 4096);
  part(3, "p2", 8192, 4096);
  add(4, "v", "lvm", make_slice(nodes_.at(2)->device, 0, 512, "v"), {2});
  EXPECT_EQ(overlapping(tree(), 1), (Ids{2, 3, 4}));
  EXPECT_EQ(overlapping(tree(), 2), (Ids{1, 4}));
  EXPECT_EQ(overlapping(tree(), 3), (Ids{1}));
  EXPECT_EQ(overlapping(tree(), 4), (Ids{1, 2}));
  EXPECT_EQ(overlapping(tree(), 99), Ids{});
  EXPECT_EQ(looked_at_after(tree(), 2), std::vector<std::uint64_t>{2});
  EXPECT_EQ(remade_after(tree(), 2), (Ids{4}));
  EXPECT_EQ(remade_after(tree(), 1), (Ids{2, 3, 4}));
  EXPECT_EQ(remade_after(tree(), 4), Ids{});
}

TEST_F(Writability, NeighboursThatOverlapReachWhatLiesOnThem) {
  part(2, "p1", 4096, 8192);
  part(3, "p2", 8192, 8192);
  part(4, "p3", 16384, 4096);
  add(5, "v", "lvm", make_slice(nodes_.at(3)->device, 0, 512, "v"), {3});
  EXPECT_EQ(overlapping(tree(), 2), (Ids{1, 3, 5}));
  EXPECT_EQ(overlapping(tree(), 5), (Ids{1, 2, 3}));
  EXPECT_EQ(overlapping(tree(), 4), (Ids{1}));
  EXPECT_EQ(looked_at_after(tree(), 2), std::vector<std::uint64_t>{1});
  EXPECT_EQ(remade_after(tree(), 2), (Ids{2, 3, 4, 5}));
}

TEST_F(Writability, LegsAreInTheWayOfWhatIsMadeOfThem) {
  part(2, "pv", 4096, 65536).layer = "lvm";
  add(3, "leg", "lvm", make_slice(nodes_.at(2)->device, 0, 512, "leg"), {2}).component = true;
  add(4, "lv", "lvm", make_slice(nodes_.at(2)->device, 1024, 512, "lv"), {2});
  add(5, "other", "lvm", make_slice(nodes_.at(2)->device, 2048, 512, "other"), {2});
  EXPECT_EQ(overlapping(tree(), 4), (Ids{1, 2, 3}));
  EXPECT_TRUE(overlapping(tree(), 3).contains(4));
  EXPECT_FALSE(overlapping(tree(), 4).contains(5));
  const WritePolicy allowed{true, {}};
  EXPECT_NE(why("leg", allowed).find("part of another device"), std::string::npos);
  EXPECT_EQ(why("leg", {true, {"leg"}}), "");
  EXPECT_EQ(why("lv", allowed), "");
}

TEST_F(Writability, TheGroupOfAMemberIsMadeAnewAsAWhole) {
  part(2, "pv1", 4096, 4096).layer = "lvm";
  part(3, "pv2", 8192, 4096).layer = "lvm";
  add(4, "both", "lvm", disk_, {2, 3});
  add(5, "second", "lvm", make_slice(nodes_.at(3)->device, 0, 512, "x"), {3});
  EXPECT_EQ(remade_after(tree(), 2), (Ids{4, 5}));
}

TEST_F(Writability, AGroupIsReachedThroughWhatLiesOnTheDeviceAndThroughOtherGroups) {
  add(10, "e", "disk", disk_, {});
  part(2, "dp1", 4096, 4096).group = 1;
  add(3, "ep1", "part", make_slice(disk_, 8192, 4096, "ep1"), {10}).group = 1;
  add(4, "first", "lvm", make_slice(nodes_.at(2)->device, 0, 512, "x"), {2});
  add(5, "second", "lvm", make_slice(nodes_.at(3)->device, 0, 512, "x"), {3}).group = 2;
  add(11, "f", "disk", disk_, {}).group = 2;
  add(6, "third", "lvm", make_slice(nodes_.at(10)->device, 0, 512, "x"), {11});
  EXPECT_EQ(remade_after(tree(), 1), (Ids{2, 4, 5, 6}));
  EXPECT_TRUE(in_the_way(tree(), 1).contains(6));
  EXPECT_EQ(remade_after(tree(), 11), Ids{6});
  EXPECT_EQ(remade_by_unlock(tree(), 4), Ids{});
  nodes_.at(11)->group_incomplete = true;
  EXPECT_EQ(remade_by_unlock(tree(), 4), Ids{6});
}

TEST_F(Writability, ContainersAreReadOnlyUnlessNamed) {
  part(2, "luks", 4096, 65536).layer = "luks";
  const WritePolicy allowed{true, {}};
  EXPECT_EQ(why("luks", allowed), "") << "while nothing of it is shown";
  add(3, "plain", "crypt", make_slice(nodes_.at(2)->device, 512, 512, "plain"), {2});
  EXPECT_NE(why("luks", allowed).find("write plain"), std::string::npos) << why("luks", allowed);
  EXPECT_NE(why("luks", allowed).find("writable=luks"), std::string::npos);
  EXPECT_EQ(why("luks", {true, {"luks"}}), "");
  EXPECT_EQ(why("plain", allowed), "");
  EXPECT_EQ(why("d", allowed), "") << "a partition table translates nothing";
  EXPECT_NE(why("d", {false, {"d"}}), "");
  disk_ = make_storage_device(HostFile::open(directory_ / "disk"));
  part(4, "ro", 0, 512);
  EXPECT_NE(why("ro", {true, {"ro"}}), "") << "naming it does not open its source";
}

}  // namespace
}  // namespace peelfs
