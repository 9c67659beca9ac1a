// The layer as the scanner sees it: names, places in the tree, images on devices and inside of
// images.
#include <gtest/gtest.h>

#include "image_maker.h"
#include "peelfs/devices.h"
#include "qcow2/qcow2.h"
#include "qcow2_support.h"

namespace peelfs::test {
namespace {

/// One image with a snapshot, and what qemu-img makes of it.
class LayerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_PROGRAM("qemu-img");
    maker_.emplace();
    const ImageOptions options{.cluster = 4096, .size = 1U << 20U};
    maker_->make("image", options, 11);
    must_run("cd '" + maker_->directory() + "' && qemu-img snapshot -c before image");
    maker_->scribble("image", options, 12, false);
    must_run("cd '" + maker_->directory() + "' && qemu-img convert -O raw image image.raw");
  }
  static Opened open(const Member& member, const Limits& limits = {}) {
    const KeyRing keys;
    return qcow2_open({{&member, 1}, keys, limits, nullptr, 0});
  }
  std::string path(const std::string& name) const { return maker_->path(name); }
  std::optional<ImageMaker> maker_;
};

TEST_F(LayerTest, ADiskTakesItsFilesPlace) {
  Member member;
  member.device = file_device(path("image"));
  member.stem = "os43";
  member.tail = "os43";
  member.unpacks_to_stem = true;
  const Opened opened = open(member);
  ASSERT_EQ(opened.devices.size(), 2U);
  EXPECT_FALSE(opened.trouble);
  EXPECT_EQ(opened.devices[0].kind, "disk");
  EXPECT_EQ(opened.devices[0].name, "os43");
  EXPECT_EQ(opened.devices[0].stem, "os43");
  EXPECT_TRUE(opened.devices[0].path.empty());
  EXPECT_EQ(opened.devices[0].references, nullptr);
  EXPECT_EQ(opened.devices[1].kind, "snapshot");
  EXPECT_EQ(opened.devices[1].name, "os43@before");
  EXPECT_EQ(opened.devices[1].path, std::vector<std::string>{"@before"});
}

TEST_F(LayerTest, AnImageOnADevice) {
  // As on a partition: the device goes on behind the image, with bytes of something else.
  Buffer bytes = read_file(path("image"));
  const Buffer rest = pattern(3U << 20U, 5);
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  bytes.insert(bytes.begin(), 1000, std::byte{1});
  const auto disk = std::make_shared<MemoryDevice>(bytes);
  Member member;
  member.device = make_slice(disk, 1000, bytes.size() - 1000, "partition");
  member.stem = "volssd10-kvmos";
  member.tail = "kvmos";
  const Opened opened = open(member);
  ASSERT_EQ(opened.devices.size(), 2U);
  EXPECT_EQ(opened.devices[0].name, "volssd10-kvmos_qcow2");
  EXPECT_EQ(opened.devices[0].tail, "kvmos_qcow2");
  EXPECT_EQ(opened.devices[0].path, std::vector<std::string>{"qcow2"});
  EXPECT_EQ(opened.devices[1].name, "volssd10-kvmos_qcow2@before");
  EXPECT_EQ(opened.devices[1].path, std::vector<std::string>{"qcow2@before"});
  EXPECT_EQ(difference(*opened.devices[0].device, path("image.raw")), "");
  check_contract(*opened.devices[0].device);
}

TEST_F(LayerTest, AnImageInsideOfAnImage) {
  must_run("cd '" + maker_->directory() +
           "' && qemu-img convert -c -f raw -O qcow2 image middle && qemu-img convert -f raw -O "
           "qcow2 -o cluster_size=512 middle outer");
  // outer unpacks to middle's bytes, rounded up to sectors; middle to image's; image to the disk.
  const OpenedImage outer = open_qcow2(path("outer"));
  const OpenedImage middle = open_qcow2(outer.opened.devices.at(0).device, nullptr);
  const OpenedImage image = open_qcow2(middle.opened.devices.at(0).device, nullptr);
  EXPECT_EQ(difference(image.disk(), path("image.raw")), "");
  check_contract(image.disk());
}

TEST_F(LayerTest, TheLimitOnDevicesHolds) {
  for (int i = 0; i < 5; ++i) {
    must_run("cd '" + maker_->directory() + "' && qemu-img snapshot -c more" + std::to_string(i) +
             " image");
  }
  Member member;
  member.device = file_device(path("image"));
  member.stem = "os";
  Limits limits;
  limits.devices = 4;
  const Opened opened = open(member, limits);
  EXPECT_EQ(opened.devices.size(), 4U);
  ASSERT_TRUE(opened.devices[0].trouble);
  EXPECT_NE(opened.devices[0].trouble->reason.find("only the first 3 of 6 snapshots"),
            std::string::npos)
      << opened.devices[0].trouble->reason;
}

TEST_F(LayerTest, AllocatedBytes) {
  const OpenedImage small = open_qcow2(path("image"));
  EXPECT_LE(small.disk().allocated_bytes(), small.disk().size());
  must_run("cd '" + maker_->directory() + "' && qemu-img create -q -f qcow2 empty 1T");
  const OpenedImage empty = open_qcow2(path("empty"));
  EXPECT_LT(empty.disk().allocated_bytes(), 1U << 20U);
  // More in the file than the disk has: still less than its size, so that tools look for holes.
  const OpenedImage full = open_qcow2(path("image"));
  Spoiled spoiled(path("image"));
  spoiled.bytes().resize(8U << 20U);
  const OpenedImage padded = open_qcow2(spoiled.device(), nullptr);
  EXPECT_EQ(padded.disk().allocated_bytes(), padded.disk().size() - 512);
}

}  // namespace
}  // namespace peelfs::test
