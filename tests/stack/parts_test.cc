// Disks that build on files of other formats, and files that are parts of other images. qemu-img
// and qemu-io make them, and say what is in them.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include <nlohmann/json.hpp>

#include "host/source.h"
#include "peel/catalog.h"
#include "peelfs/formats.h"
#include "scan/scanner.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

using NodePtr = std::shared_ptr<const Node>;

class Parts : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* const program : {"qemu-img", "qemu-io"}) {
      if (!have_program(program)) GTEST_SKIP() << program << " is not installed";
    }
    fs::create_directory(folder_ / "d");
  }

  std::string path(const std::string& name) const { return folder_ / ("d/" + name); }

  void shell(const std::string& commands) const {
    must_run("cd " + std::string(folder_ / "d") + " && " + commands);
  }

  /// A disk of 4 MiB with something on it, in a format of qemu's.
  void make_base(const std::string& name, const std::string& format) const {
    shell(
        "qemu-img create -q -f raw base.tmp 4M && "
        "qemu-io -f raw -c 'write -q -P 17 0 1M' -c 'write -q -P 18 3M 512k' base.tmp && "
        "qemu-img convert -f raw -O " +
        format + " base.tmp " + name + " && rm base.tmp");
  }

  /// What qemu reads.
  std::string expected(const std::string& name) const {
    shell("qemu-img convert -f qcow2 -O raw " + name + " out.tmp");
    const Buffer bytes = read_file(path("out.tmp"));
    fs::remove(path("out.tmp"));
    return sha256(bytes);
  }

  /// Every device, by name.
  static std::map<std::string, NodePtr> scan(const std::vector<SourceSpec>& specs,
                                             Scanner& scanner) {
    OpenedSources opened = open_sources(specs, {}, standard_formats());
    for (const SourceFailure& failure : opened.failures) ADD_FAILURE() << failure.error.what();
    for (const Source& source : opened.sources) scanner.add(source);
    scanner.settle();
    return nodes(scanner);
  }
  static std::map<std::string, NodePtr> nodes(const Scanner& scanner) {
    std::map<std::string, NodePtr> result;
    for (const auto& [id, node] : scanner.tree()->nodes) {
      if (!node->hidden) result[node->name] = node;
    }
    return result;
  }
  std::map<std::string, NodePtr> scan(const std::string& file) {
    SourceSpec spec;
    spec.path = path(file);
    return scan({spec}, scanner_);
  }
  std::map<std::string, NodePtr> scan_folder(Scanner& scanner) const {
    SourceSpec spec;
    spec.path = folder_ / "d";
    return scan({spec}, scanner);
  }

  /// What `ls --json` says of each device.
  std::map<std::string, nlohmann::json> listed() const {
    std::map<std::string, nlohmann::json> result;
    const auto document = nlohmann::json::parse(tree_json(Catalog(scanner_.tree(), nullptr)));
    std::vector<nlohmann::json> pending(document.at("blockdevices"));
    while (!pending.empty()) {
      const nlohmann::json device = pending.back();
      pending.pop_back();
      result[device.at("name")] = device;
      if (!device.contains("children")) continue;
      for (const auto& child : device.at("children")) pending.push_back(child);
    }
    return result;
  }

  static std::string reason(const NodePtr& node) {
    return node->trouble ? text_of(*node->trouble) : "";
  }

  const TemporaryDirectory folder_;
  Scanner scanner_{standard_formats(), Limits{}, std::make_shared<KeyRing>(), {}};
};

TEST_F(Parts, ABackingFileInAnotherFormatIsOpenedByTheTable) {
  make_base("base.vhd", "vpc");
  shell(
      "qemu-img create -q -f qcow2 -b base.vhd -F vpc top.qcow2 6M && "
      "qemu-io -f qcow2 -c 'write -q -P 33 512k 1M' top.qcow2");
  const auto nodes = scan("top.qcow2");
  ASSERT_TRUE(nodes.contains("top"));
  const NodePtr top = nodes.at("top");
  EXPECT_FALSE(top->trouble) << reason(top);
  EXPECT_EQ(sha256(*top->device), expected("top.qcow2"));
  ASSERT_EQ(top->parts.size(), 1U);
  EXPECT_EQ(top->parts[0].role, "backing-file");
  EXPECT_EQ(top->parts[0].name, path("base.vhd"));
  EXPECT_EQ(top->parts[0].size, fs::file_size(path("base.vhd")));
}

TEST_F(Parts, ItIsOpenedAtTheEndOfAChain) {
  make_base("base.vhd", "vpc");
  shell(
      "qemu-img create -q -f qcow2 -b base.vhd -F vpc mid.qcow2 && "
      "qemu-io -f qcow2 -c 'write -q -P 34 1M 64k' mid.qcow2 && "
      "qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2");
  const auto nodes = scan("top.qcow2");
  EXPECT_EQ(sha256(*nodes.at("top")->device), expected("top.qcow2"));
  ASSERT_EQ(nodes.at("top")->parts.size(), 2U);
  EXPECT_EQ(nodes.at("top")->parts[1].name, path("base.vhd"));
}

TEST_F(Parts, WithoutAStoredFormatItIsToldAsQemuTellsIt) {
  make_base("dynamic.vhd", "vpc");
  make_base("fixed.vhd", "vpc -o subformat=fixed");
  make_base("plain.img", "raw");
  for (const char* const base : {"dynamic.vhd", "fixed.vhd", "plain.img"}) {
    shell("qemu-img create -q -f qcow2 -u -b " + std::string(base) +
          " -F raw top.qcow2 4M && "
          "qemu-img rebase -u -f qcow2 -b " +
          base + " -F '' top.qcow2 2>/dev/null || true");
    // Newer qemu-img does not leave the format away any more: the extension is made unknown.
    Buffer bytes = read_file(path("top.qcow2"));
    const ByteReader header(bytes, "qcow2");
    const std::size_t extension = header.be32(100);
    if (header.be32(extension) == 0xe2792acaU) {
      bytes.at(extension) = std::byte{0x7f};
      write_file(path("top.qcow2"), bytes);
    }
    Scanner scanner{standard_formats(), Limits{}, std::make_shared<KeyRing>(), {}};
    SourceSpec spec;
    spec.path = path("top.qcow2");
    const auto nodes = scan({spec}, scanner);
    EXPECT_EQ(sha256(*nodes.at("top")->device), expected("top.qcow2")) << base;
    fs::remove(path("top.qcow2"));
  }
}

TEST_F(Parts, AWrongFormatIsSaid) {
  make_base("base.img", "raw");
  shell(
      "qemu-img create -q -f qcow2 -u -b base.img -F vpc top.qcow2 4M && "
      "qemu-img create -q -f qcow2 -u -b base.img -F vmdk other.qcow2 4M");
  Scanner scanner{standard_formats(), Limits{}, std::make_shared<KeyRing>(), {}};
  SourceSpec spec;
  spec.path = path("top.qcow2");
  const NodePtr top = scan({spec}, scanner).at("top");
  ASSERT_TRUE(top->trouble);
  EXPECT_GE(top->trouble->state, Trouble::degraded);
  EXPECT_NE(reason(top).find("base.img is no vpc image"), std::string::npos) << reason(top);
  EXPECT_THROW((void)read_bytes(*top->device, 0, 512), Error);
  const NodePtr other = scan("other.qcow2").at("other");
  EXPECT_NE(reason(other).find("format 'vmdk' cannot be read"), std::string::npos) << reason(other);
}

TEST_F(Parts, FoundInAFolderTheyAreNoDisksOfTheirOwn) {
  make_base("base.vhd", "vpc");
  make_base("alone.vhd", "vpc");
  shell(
      "qemu-img create -q -f qcow2 -b base.vhd -F vpc mid.qcow2 && "
      "qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2");
  const auto nodes = scan_folder(scanner_);
  EXPECT_TRUE(nodes.contains("top"));
  EXPECT_TRUE(nodes.contains("alone"));
  for (const char* const part : {"mid.qcow2", "base.vhd"}) {
    ASSERT_TRUE(nodes.contains(part)) << part;
    EXPECT_EQ(nodes.at(part)->kind, "file");
    EXPECT_EQ(nodes.at(part)->part_of, "top");
    EXPECT_TRUE(nodes.at(part)->children.empty());
    EXPECT_EQ(reason(nodes.at(part)),
              "note: it is the backing-file of top; name it as a source to see what is in it");
  }
  EXPECT_FALSE(nodes.contains("base"));
  EXPECT_FALSE(nodes.contains("mid"));
  const auto listing = listed();
  EXPECT_EQ(listing.at("mid.qcow2").at("part-of"), "top");
  EXPECT_FALSE(listing.at("top").contains("part-of"));
  ASSERT_EQ(listing.at("top").at("host-files").size(), 2U);
  EXPECT_EQ(listing.at("top").at("host-files")[1].at("path"), path("base.vhd"));
  EXPECT_EQ(listing.at("top").at("host-files")[1].at("ro"), true);
}

// One broken image must not hide another.
TEST_F(Parts, AnImageThatCannotUseAFileDoesNotHideIt) {
  make_base("base.img", "raw");
  shell("qemu-img create -q -f qcow2 -u -b base.img -F vmdk top.qcow2 4M");
  const auto nodes = scan_folder(scanner_);
  ASSERT_TRUE(nodes.contains("base"));
  EXPECT_TRUE(nodes.at("base")->part_of.empty());
  EXPECT_FALSE(nodes.at("base")->trouble) << reason(nodes.at("base"));
  ASSERT_EQ(nodes.at("top")->parts.size(), 1U);
}

// It may be mounted and written by then.
TEST_F(Parts, WhatWasShownAsADiskStaysOne) {
  make_base("base.img", "raw");
  shell("qemu-img create -q -f qcow2 -b base.img -F raw top.qcow2");
  SourceSpec spec;
  spec.from_directory = true;
  for (const char* const name : {"base.img", "top.qcow2"}) {
    spec.path = path(name);
    const auto nodes = scan({spec}, scanner_);
    ASSERT_TRUE(nodes.contains("base")) << name;
    EXPECT_TRUE(nodes.at("base")->part_of.empty());
  }
}

TEST_F(Parts, NamedByThePersonTheyAreDisks) {
  make_base("base.vhd", "vpc");
  shell("qemu-img create -q -f qcow2 -b base.vhd -F vpc top.qcow2");
  SourceSpec base;
  base.path = path("base.vhd");
  SourceSpec top;
  top.path = path("top.qcow2");
  const auto nodes = scan({base, top}, scanner_);
  ASSERT_TRUE(nodes.contains("base"));
  EXPECT_TRUE(nodes.at("base")->part_of.empty());
  EXPECT_EQ(sha256(*nodes.at("base")->device), sha256(*nodes.at("top")->device));
}

TEST_F(Parts, ImagesThatAreBasedOnOneAnotherDoNotAllVanish) {
  shell(
      "qemu-img create -q -f qcow2 a.qcow2 1M && "
      "qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 b.qcow2 && "
      "qemu-img create -q -f qcow2 -b b.qcow2 -F qcow2 c.qcow2 && "
      "qemu-img rebase -u -f qcow2 -b c.qcow2 -F qcow2 a.qcow2");
  const auto nodes = scan_folder(scanner_);
  std::size_t disks = 0;
  for (const char* const name : {"a", "b", "c"}) {
    if (!nodes.contains(name)) continue;
    ++disks;
    EXPECT_NE(reason(nodes.at(name)).find("loop"), std::string::npos) << reason(nodes.at(name));
  }
  EXPECT_GE(disks, 1U);
}

TEST_F(Parts, AnImageThatNamesItselfStaysADisk) {
  shell(
      "qemu-img create -q -f qcow2 a.qcow2 1M && qemu-img rebase -u -f qcow2 -b a.qcow2 -F qcow2 "
      "a.qcow2");
  const auto nodes = scan_folder(scanner_);
  ASSERT_TRUE(nodes.contains("a"));
  EXPECT_TRUE(nodes.at("a")->part_of.empty());
}

TEST_F(Parts, AnExternalDataFileInAFilesystemIsOne) {
  if (!have_program("mke2fs")) GTEST_SKIP() << "mke2fs is not installed";
  make_base("base.img", "raw");
  shell(
      "qemu-img create -q -f qcow2 -o data_file=data.raw,data_file_raw=on top.qcow2 4M && "
      "qemu-io -f qcow2 -c 'write -q -P 35 0 4M' top.qcow2");
  const std::string whole = expected("top.qcow2");
  const std::string image = folder_ / "image.img";
  must_run("truncate -s 64M " + image + " && /sbin/mke2fs -q -F -t ext4 -d " +
           std::string(folder_ / "d") + " " + image);
  SourceSpec spec;
  spec.path = image;
  const auto nodes = scan({spec}, scanner_);
  EXPECT_EQ(sha256(*nodes.at("top")->device), whole);
  ASSERT_TRUE(nodes.contains("data.raw"));
  EXPECT_EQ(nodes.at("data.raw")->part_of, "top");
  EXPECT_FALSE(nodes.contains("data"));
  EXPECT_TRUE(nodes.at("top")->parts.at(0).name.ends_with("data.raw"));
  EXPECT_EQ(nodes.at("top")->parts.at(0).file, nullptr);
  const auto listing = listed();
  ASSERT_EQ(listing.at("top").at("files").size(), 1U);
  EXPECT_EQ(listing.at("top").at("files")[0].at("path"), nodes.at("top")->parts.at(0).name);
  EXPECT_EQ(listing.at("top").at("files")[0].at("type"), "data-file");
  EXPECT_TRUE(nodes.contains("base"));
}

TEST_F(Parts, WhenTheImageChangesItsPartIsADiskAgain) {
  if (!have_program("mke2fs")) GTEST_SKIP() << "mke2fs is not installed";
  make_base("base.img", "raw");
  shell("qemu-img create -q -f qcow2 -b base.img -F raw top.qcow2");
  const std::string image = folder_ / "image.img";
  must_run("truncate -s 64M " + image + " && /sbin/mke2fs -q -F -t ext4 -d " +
           std::string(folder_ / "d") + " " + image);
  Source source;
  source.name = "image.img";
  source.stem = "image";
  source.path = image;
  source.file = HostFile::open(image, HostFile::Access::read_write);
  scanner_.add(source);
  scanner_.settle();
  EXPECT_EQ(nodes(scanner_).at("base.img")->part_of, "top");
  // The first bytes of top.qcow2 go: it is no image any more.
  const NodePtr file = nodes(scanner_).at("top.qcow2");
  const Resolved at = resolve(*file->device, 0, 512);
  ASSERT_EQ(at.extent.kind, ExtentKind::storage);
  write(*file->device, 0, Buffer(512, std::byte{0}));
  scanner_.repeel({file->id});
  const auto now = nodes(scanner_);
  ASSERT_TRUE(now.contains("base.img"));
  EXPECT_TRUE(now.at("base.img")->part_of.empty());
  EXPECT_FALSE(now.at("base.img")->trouble) << reason(now.at("base.img"));
  EXPECT_TRUE(now.contains("base"));
}

}  // namespace
}  // namespace peelfs::test
