// A raw file in a filesystem on which an image beside it is based: it is not written to meanwhile.
#include <gtest/gtest.h>

#include "host/source.h"
#include "peelfs/formats.h"
#include "scan/scanner.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

class NestedBacking : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* const program : {"mke2fs", "sfdisk", "qemu-img"}) {
      if (!have_program(program)) GTEST_SKIP() << program << " is not installed";
    }
    const std::string tree = folder_ / "tree";
    must_run("mkdir " + tree + " && cd " + tree + " && truncate -s 8M base.img other.img && " +
             "echo 'start=2048' | sfdisk -q base.img && echo 'start=2048' | sfdisk -q other.img && "
             "qemu-img create -q -f qcow2 -b base.img -F raw top.qcow2 && truncate -s 64M " +
             image_ + " && /sbin/mke2fs -q -F -t ext4 -d " + tree + " " + image_);
    Source source;
    source.name = "image.img";
    source.stem = "image";
    source.path = image_;
    source.file = HostFile::open(image_, HostFile::Access::read_write);
    scanner_.add(source);
    scanner_.settle();
  }
  DevicePtr device(const std::string& name) const {
    for (const auto& [id, node] : scanner_.tree()->nodes) {
      if (node->name == name) return node->device;
    }
    ADD_FAILURE() << "there is no " << name;
    return nullptr;
  }

  const TemporaryDirectory folder_;
  const std::string image_ = folder_ / "image.img";
  Scanner scanner_{standard_formats(), Limits{}, std::make_shared<KeyRing>(), {}};
};

TEST_F(NestedBacking, IsReadOnlyAndNoDiskOfItsOwn) {
  ASSERT_TRUE(device("top"));
  EXPECT_TRUE(device("top")->writable());
  EXPECT_TRUE(device("other.img")->writable());
  EXPECT_TRUE(device("otherp1")->writable());
  EXPECT_FALSE(device("base.img")->writable());
  EXPECT_THROW(write(*device("base.img"), 4096, as_bytes("MARK")), Error);
  for (const auto& [id, node] : scanner_.tree()->nodes) EXPECT_NE(node->name, "basep1");
  EXPECT_NE(device("base.img")->read_only_reason().find("'top' is based on it"), std::string::npos)
      << device("base.img")->read_only_reason();
}

TEST_F(NestedBacking, WritingToWhatIsBasedOnItLeavesItAsItIs) {
  const std::string before = sha256(*device("base.img"));
  write(*device("top"), 100'000, as_bytes("MARK"));
  write(*device("topp1"), 4096, as_bytes("MARK"));
  device("top")->flush();
  EXPECT_EQ(sha256(*device("base.img")), before);
}

}  // namespace
}  // namespace peelfs::test
