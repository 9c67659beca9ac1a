// Names and links of trees made by hand.
#include "peel/catalog.h"
#include "peelfs/formats.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "peel/names.h"
#include "support/support.h"

namespace peelfs {
namespace {

struct Options {
  std::string label = {};
  std::string uuid = {};
  std::string usage = "filesystem";
  std::string partuuid = {};
  bool hidden = false;
  std::string source_path = {};
  std::optional<Trouble> trouble = {};
};

class CatalogTest : public ::testing::Test {
 protected:
  std::uint64_t add(const std::string& name, const std::string& kind,
                    std::vector<std::uint64_t> parents, std::vector<std::string> path,
                    Options options = {}) {
    auto node = std::make_shared<Node>();
    node->id = ++last_;
    node->name = name;
    node->stem = standard_formats().strip_image_suffix(name);
    node->kind = kind;
    node->path = std::move(path);
    node->device = std::make_shared<test::MemoryDevice>(Buffer(4096));
    node->identity.label = options.label;
    node->identity.uuid = options.uuid;
    node->identity.usage = options.usage;
    node->partuuid = options.partuuid;
    node->hidden = options.hidden;
    node->source_path = options.source_path;
    node->trouble = options.trouble;
    for (const std::uint64_t parent : parents) nodes_.at(parent)->children.push_back(last_);
    node->parents = std::move(parents);
    if (node->parents.empty()) roots_.push_back(last_);
    nodes_.emplace(last_, node);
    return last_;
  }
  Catalog catalog(const Catalog* previous = nullptr) {
    auto tree = std::make_shared<Tree>();
    for (const auto& [id, node] : nodes_) tree->nodes.emplace(id, std::make_shared<Node>(*node));
    tree->roots = roots_;
    return Catalog(tree, previous);
  }
  static std::string names(const Catalog& catalog) {
    std::string text;
    for (const auto& entry : catalog.devices()) text += entry.name + " ";
    return text;
  }
  static std::string links(const Catalog& catalog, const std::string& below) {
    std::string text;
    for (const Link& link : catalog.links()) {
      if (link.directory.starts_with(below))
        text += link.directory + "/" + link.name + ">" + link.target + "\n";
    }
    return text;
  }

  std::uint64_t last_ = 0;
  std::map<std::uint64_t, std::shared_ptr<Node>> nodes_;
  std::vector<std::uint64_t> roots_;
};

TEST_F(CatalogTest, TheExampleOfTheDesign) {
  const auto file = add("os43.qcow2", "file", {}, {"os43"}, {.hidden = true});
  const auto disk = add("os43", "disk", {file}, {});
  add("os43p1", "part", {disk}, {"p1"}, {.label = "boot"});
  const auto p2 = add("os43p2", "part", {disk}, {"p2"}, {.usage = "raid"});
  add("lvg1-lvroot", "lvm", {p2}, {"lvg1", "lvroot"}, {.uuid = "1234"});
  const Catalog result = catalog();
  EXPECT_EQ(names(result), "lvg1-lvroot os43 os43p1 os43p2 ");
  EXPECT_EQ(links(result, "by-path"),
            "by-path/os43/device>../../os43\nby-path/os43/p1>../../os43p1\n"
            "by-path/os43/p2/device>../../../os43p2\n"
            "by-path/os43/p2/lvg1/lvroot>../../../../lvg1-lvroot\n");
  EXPECT_EQ(links(result, "by-uuid"), "by-uuid/1234>../lvg1-lvroot\n");
  EXPECT_EQ(links(result, "by-label"), "by-label/boot>../os43p1\n");
  for (const char* name :
       {"lvg1-lvroot", "UUID=1234", "1234", "by-uuid/1234", "by-path/os43/p2/lvg1/lvroot"}) {
    ASSERT_NE(result.find(name), nullptr) << name;
    EXPECT_EQ(result.find(name)->name, "lvg1-lvroot");
  }
  EXPECT_EQ(result.find("by-path/os43/p2")->name, "os43p2");
  EXPECT_EQ(result.find("nothing"), nullptr);
  EXPECT_EQ(result.find(""), nullptr);
}

TEST_F(CatalogTest, TwoOfOneNameAreBothQualifiedByTheirSource) {
  for (const std::string name : {"vm1", "vm2"}) {
    add("lvg1-lvroot", "lvm", {add(name, "disk", {}, {name})}, {"lvg1", "lvroot"}, {.uuid = "77"});
  }
  const Catalog result = catalog();
  EXPECT_EQ(names(result), "vm1 vm1.lvg1-lvroot vm2 vm2.lvg1-lvroot ");
  EXPECT_EQ(links(result, "by-uuid"), "") << "clones: no link";
  ASSERT_EQ(result.remarks().size(), 1U);
  EXPECT_NE(result.remarks()[0].find("vm1.lvg1-lvroot, vm2.lvg1-lvroot"), std::string::npos);
  EXPECT_EQ(result.find("77"), nullptr) << "ambiguous";
}

TEST_F(CatalogTest, InOneSourceTheImageFileTellsThemApart) {
  const auto host = add("host", "disk", {}, {"host"});
  for (const std::string name : {"a", "b"}) {
    const auto file = add(name + ".img", "file", {host}, {name + ".img"});
    add("vg-root", "lvm", {add(name, "disk", {file}, {})}, {"vg", "root"});
  }
  EXPECT_EQ(names(catalog()), "a a.img a.vg-root b b.img b.vg-root host ");
}

TEST_F(CatalogTest, SourcesOfOneNameAreToldApartByTheirDirectories) {
  add("os", "disk", {}, {"os"}, {.source_path = "/srv/a/os.img"});
  add("os", "disk", {}, {"os"}, {.source_path = "/srv/b/os.img"});
  const Catalog result = catalog();
  EXPECT_EQ(names(result), "a.os b.os ");
  EXPECT_EQ(links(result, "by-path"), "by-path/a.os>../a.os\nby-path/b.os>../b.os\n");
  EXPECT_TRUE(result.is_doubled(1) && result.is_doubled(2));
  EXPECT_EQ(result.source_of(2), "/srv/b/os.img");
}

TEST_F(CatalogTest, NoQualifierHidesAName) {
  const auto image = [this](const std::string& name, const std::string& path) {
    const auto file = add(name + ".img", "file", {}, {name}, {.hidden = true, .source_path = path});
    add(name, "disk", {file}, {});
  };
  image("a", "./a.img");  // the current directory has no name here
  image("a", "cl/a.img");
  image("b", "../b.img");
  image("b", ".h/b.img");
  image("c", "x/../.h/c.img");
  image("c", "x/./c.img");
  add("d", "disk", {}, {"d"}, {.source_path = "d.img"});
  add("d", "disk", {}, {"d"}, {.source_path = "./x/d.img"});
  EXPECT_EQ(names(catalog()), "a a~2 b b~2 d d~2 h.c x.c ");
}

TEST_F(CatalogTest, WhatIsInAHiddenSourceIsNotHidden) {
  for (const std::string name : {".s1", ".s2"}) {
    add("vg-root", "lvm", {add(name, "disk", {}, {name})}, {"vg", "root"});
  }
  EXPECT_EQ(names(catalog()), ".s1 .s2 s1.vg-root s2.vg-root ");
}

TEST_F(CatalogTest, ASourceKeepsItsNameBesideWhatIsInsideOfAnother) {
  const auto host = add("host", "disk", {}, {"host"});
  add("os43", "disk", {host}, {"os43"});
  add("os43", "disk", {}, {"os43"});
  EXPECT_EQ(names(catalog()), "host host.os43 os43 ");
}

TEST_F(CatalogTest, WhenNothingTellsThemApartANumberDoes) {
  const auto host = add("host", "disk", {}, {"host"});
  add("x", "lvm", {host}, {"x"});
  add("x", "lvm", {host}, {"x"});
  const Catalog result = catalog();
  EXPECT_EQ(result.devices().size(), 3U);
  EXPECT_EQ(names(result), "host x x~2 ");
}

TEST_F(CatalogTest, ImagesOfOneNameAreToldApartByTheirDirectories) {
  for (const std::string folder : {"a", "b"}) {
    const auto file = add("os.qcow2", "file", {}, {"os"},
                          {.hidden = true, .source_path = "/srv/" + folder + "/os.qcow2"});
    add("os", "disk", {file}, {});
    add("os@s", "snapshot", {file}, {"@s"});
  }
  const Catalog result = catalog();
  EXPECT_EQ(names(result), "a.os a.os@s b.os b.os@s ");
  EXPECT_EQ(result.find("by-path/a.os")->name, "a.os");
}

TEST_F(CatalogTest, OneNumberingForNamesAndPaths) {
  // A source found last in the tree, though named first, must not get another number below by-path.
  std::vector<std::uint64_t> disks;
  for (int i = 0; i < 4; ++i) {
    const std::string path = "/srv/" + std::to_string(i) + "/vm/os.qcow2";
    if (i % 2 == 0) {  // in an image format: its disk lies one level deeper
      const auto file = add("os.qcow2", "file", {}, {"os"}, {.hidden = true, .source_path = path});
      disks.push_back(add("os", "disk", {file}, {}));
    } else {
      disks.push_back(add("os", "disk", {}, {"os"}, {.source_path = path}));
    }
    add("osp1", "part", {disks.back()}, {"p1"});
  }
  const Catalog result = catalog();
  std::set<std::string> seen;
  for (const std::uint64_t disk : disks) {
    const std::string& name = result.name_of(disk);
    seen.insert(name);
    const Catalog::Entry* by_path = result.find("by-path/" + name);
    ASSERT_NE(by_path, nullptr) << name;
    EXPECT_EQ(by_path->node->id, disk) << name;
    EXPECT_TRUE(result.is_doubled(disk));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"os", "os~2", "os~3", "os~4"}));
}

TEST_F(CatalogTest, OneNumberingInsideOfADevice) {
  const auto host = add("host", "disk", {}, {"host"});
  std::vector<std::uint64_t> twins;
  for (int i = 0; i < 3; ++i) twins.push_back(add("vg-x", "lvm", {host}, {"vg", "x"}));
  const Catalog result = catalog();
  for (const std::uint64_t twin : twins) {
    const std::string& name = result.name_of(twin);
    const std::size_t mark = name.find('~');
    const std::string suffix = mark == std::string::npos ? "" : name.substr(mark);
    const Catalog::Entry* by_path = result.find("by-path/host/vg/x" + suffix);
    ASSERT_NE(by_path, nullptr) << name;
    EXPECT_EQ(by_path->node->id, twin);
  }
}

TEST_F(CatalogTest, NamesAndPathsComeBackToTheSameDevice) {
  const auto host = add("host", "disk", {}, {"host"});
  const auto first = add("x", "lvm", {host}, {"x"});
  const auto second = add("x", "lvm", {host}, {"x"});
  const Catalog one = catalog();
  EXPECT_EQ(one.name_of(second), "x~2");
  const auto gone = nodes_.extract(first);
  nodes_.at(host)->children = {second};
  const Catalog two = catalog(&one);
  EXPECT_EQ(names(two), "host x~2 ");
  // Another device with the name comes meanwhile, more than one catalogue later.
  const Catalog three = catalog(&two);
  const auto other = add("x", "lvm", {host}, {"x"});
  const Catalog four = catalog(&three);
  EXPECT_EQ(names(four), "host host.x x~2 ");
  EXPECT_EQ(four.find("by-path/host/x~host.x")->node->id, other);
  EXPECT_EQ(four.find("by-path/host/x"), nullptr);
  nodes_.emplace(first, gone.mapped());
  nodes_.at(host)->children = {first, second, other};
  const Catalog five = catalog(&four);
  EXPECT_EQ(five.name_of(first), "x");
  EXPECT_EQ(five.name_of(other), "host.x");
  EXPECT_EQ(five.find("by-path/host/x")->node->id, first);
}

TEST_F(CatalogTest, PublishedNamesAreFrozen) {
  const auto one = add("vm1", "disk", {}, {"vm1"});
  add("vg-root", "lvm", {one}, {"vg", "root"});
  const Catalog first = catalog();
  const auto two = add("vm2", "disk", {}, {"vm2"});
  add("vg-root", "lvm", {two}, {"vg", "root"});
  EXPECT_EQ(names(catalog(&first)), "vg-root vm1 vm2 vm2.vg-root ");
}

TEST_F(CatalogTest, HostileNames) {
  const auto host = add("host", "disk", {}, {"host"});
  for (const std::string name :
       {"..", ".", "", "a/b", "by-uuid", ".peelfs", "\x1b[31m", "\xff", "a\\x2fb"}) {
    add(name, "file", {host}, {name});
  }
  add(std::string(1000, 'n'), "file", {host}, {std::string(1000, 'n')});
  const Catalog result = catalog();
  EXPECT_EQ(result.devices().size(), 11U);
  for (const auto& entry : result.devices()) {
    EXPECT_EQ(entry.name.find('/'), std::string::npos);
    EXPECT_LE(entry.name.size(), 255U);
    EXPECT_NE(entry.name, "..");
    EXPECT_NE(entry.name, "by-uuid");
    EXPECT_EQ(printable(entry.name), entry.name);
  }
  EXPECT_NE(result.find("a\\x2fb"), nullptr);
  EXPECT_NE(result.find("a\\x5cx2fb"), nullptr) << "the escape itself is escaped";
}

TEST_F(CatalogTest, ALabelOfMembersBelongsToTheArray) {
  const auto a = add("a", "disk", {}, {"a"}, {.label = "data"});
  const auto b = add("b", "disk", {}, {"b"}, {.label = "data"});
  add("md0", "raid1", {a, b}, {"md0"}, {.label = "data"});
  EXPECT_EQ(links(catalog(), "by-label"), "by-label/data>../md0\n");
}

TEST_F(CatalogTest, ALabelBelongsToTheLiveDiskNotToItsSnapshots) {
  const auto file = add("os.qcow2", "file", {}, {"os"}, {.hidden = true});
  add("osp1", "part", {add("os", "disk", {file}, {})}, {"p1"}, {.label = "root"});
  add("os@sp1", "part", {add("os@s", "snapshot", {file}, {"@s"})}, {"p1"}, {.label = "root"});
  EXPECT_EQ(links(catalog(), "by-label"), "by-label/root>../osp1\n");
}

TEST_F(CatalogTest, MembersHaveNoUuidLinkButCanBeFound) {
  add("pv", "disk", {}, {"pv"}, {.uuid = "abc-def", .usage = "raid"});
  const Catalog result = catalog();
  EXPECT_EQ(links(result, "by-uuid"), "");
  ASSERT_NE(result.find("abc-def"), nullptr);
}

TEST_F(CatalogTest, LinksAreEscapedAsUdevDoes) {
  EXPECT_EQ(udev_escape("my data/1"), "my\\x20data\\x2f1");
  EXPECT_EQ(udev_escape("p\xc3\xa4ss"), "p\xc3\xa4ss");
  add("a", "disk", {}, {"a"}, {.label = "my data"});
  EXPECT_EQ(links(catalog(), "by-label"), "by-label/my\\x20data>../a\n");
}

TEST_F(CatalogTest, JsonHasTheShapeOfLsblk) {
  const auto disk = add("a", "disk", {}, {"a"}, {.label = "x\xff", .source_path = "/tmp/a.img"});
  add("ap1", "part", {disk}, {"p1"}, {.trouble = Trouble{Trouble::locked, "no key"}});
  const auto json = nlohmann::json::parse(tree_json(catalog()));
  const auto& a = json.at("blockdevices").at(0);
  EXPECT_EQ(a.at("name"), "a");
  EXPECT_EQ(a.at("size"), 4096);
  EXPECT_EQ(a.at("state"), nullptr);
  EXPECT_EQ(a.at("label"), "x\xef\xbf\xbd");
  EXPECT_EQ(a.at("children").at(0).at("state"), "locked");
  EXPECT_EQ(a.at("children").at(0).at("reason"), "no key");
  EXPECT_FALSE(a.at("children").at(0).contains("children"));
}

TEST_F(CatalogTest, JsonTellsTheGroupOfAMemberAndThePartsOfAnImage) {
  const auto pv = add("pv", "disk", {}, {"pv"});
  nodes_.at(pv)->membership = Membership{"vg-uuid", "vg v", "pv-uuid", 7, 3};
  nodes_.at(pv)->stale = true;
  const auto top = add("top", "disk", {}, {"top"});
  nodes_.at(top)->parts.push_back({"data-file", "/d.raw", 4096, {}, nullptr});
  const auto part = add("d.raw", "file", {}, {"d.raw"});
  nodes_.at(part)->part_of = "top";
  const auto devices = nlohmann::json::parse(tree_json(catalog())).at("blockdevices");
  EXPECT_EQ(devices.at(0).at("group"),
            nlohmann::json::parse(R"({"name": "vg v", "uuid": "vg-uuid", "member": "pv-uuid",
                                      "generation": 7, "members": 3, "stale": true})"));
  EXPECT_EQ(devices.at(1).at("files"),
            nlohmann::json::parse(R"([{"path": "/d.raw", "type": "data-file", "size": 4096}])"));
  EXPECT_FALSE(devices.at(1).contains("group"));
  EXPECT_EQ(devices.at(2).at("part-of"), "top");
}

TEST_F(CatalogTest, ManyParentsDoNotMultiplyTheTree) {
  std::vector<std::uint64_t> parents;
  for (int i = 0; i < 40; ++i)
    parents.push_back(add("pv" + std::to_string(i), "disk", {}, {std::to_string(i)}));
  // Groups on groups: written out in full this would be 40^4 entries.
  for (int level = 0; level < 4; ++level) {
    std::vector<std::uint64_t> volumes;
    for (int i = 0; i < 40; ++i) {
      volumes.push_back(add("l" + std::to_string(level) + "-" + std::to_string(i), "lvm", parents,
                            {std::to_string(level), std::to_string(i)}));
    }
    parents = volumes;
  }
  EXPECT_LT(tree_json(catalog()).size(), 8U << 20U);
}

}  // namespace
}  // namespace peelfs
