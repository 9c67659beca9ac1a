// A build without the layers that need libraries of others: its table is compiled into this test.
#include <gtest/gtest.h>

#include "identify/identify.h"
#include "peelfs/formats.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

std::string opened(const Layer& row, const DevicePtr& device, const Claim& claim) {
  const Member member{device, &claim, "disk", "disk", false, nullptr};
  const KeyRing keys;
  const Limits limits;
  try {
    const Opened opened = row.open({{&member, 1}, keys, limits, nullptr, 0});
    return opened.trouble ? text_of(*opened.trouble) : "opened";
  } catch (const Error& error) {
    return error.what();
  }
}

/// The row that claims an image, and what opening it comes to.
std::string outcome(const DevicePtr& device) {
  const Identity identity = identify(*device);
  for (const Layer& row : standard_formats().rows()) {
    if (row.probe == nullptr) continue;
    const auto claim = row.probe({*device, identity});
    if (claim) return std::string(row.name) + ": " + opened(row, device, *claim);
  }
  return "nothing claims it";
}

const Layer* row_called(std::string_view name) {
  for (const Layer& row : standard_formats().rows()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

class LeftOut : public ::testing::Test {
 protected:
  DevicePtr made(const std::string& command) {
    const std::string path = folder_ / "image";
    must_run("truncate -s 32M " + path + " && PATH=$PATH:/sbin:/usr/sbin && " + command + " " +
             path);
    return file_device(path);
  }
  TemporaryDirectory folder_;
};

TEST_F(LeftOut, LuksSaysThatItCannotBeOpened) {
  const std::string said =
      outcome(made("echo secret | cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations "
                   "1000 --key-file=-"));
  EXPECT_EQ(said.find("luks: this peelfs was built without what opens it"), 0U) << said;
  EXPECT_NE(said.find("crypto_LUKS"), std::string::npos) << said;
}

TEST_F(LeftOut, FilesystemsAreShownAndNotSearched) {
  const std::string said = outcome(made("mke2fs -q -F -t ext4"));
  EXPECT_EQ(said,
            "ext: note: not searched for disk images: this peelfs was built without the layer for "
            "ext2, ext3 and ext4");
}

TEST_F(LeftOut, PhysicalVolumesSayThatTheyCannotBeOpened) {
  // The label of a physical volume as pvcreate writes it, with its header behind it.
  const std::string path = folder_ / "pv";
  must_run("PATH=$PATH:/sbin:/usr/sbin; truncate -s 32M " + path +
           R"( && printf 'LABELONE\001\0\0\0\0\0\0\0\0\0\0\0\040\0\0\0LVM2 001' | dd of=)" + path +
           " bs=512 seek=1 conv=notrunc status=none");
  Identity identity;
  identity.type = "LVM2_member";  // libblkid asks for the checksum, too
  const DevicePtr device = file_device(path);
  const Layer* const row = row_called("lvm");
  ASSERT_NE(row, nullptr);
  const auto claim = row->probe({*device, identity});
  ASSERT_TRUE(claim);
  EXPECT_NE(opened(*row, device, *claim).find("built without what opens it"), std::string::npos);
}

TEST_F(LeftOut, TheOthersAreThere) {
  for (const std::string_view kind : {"gpt", "qcow2", "vhd"}) {
    EXPECT_NE(standard_formats().by_kind(kind), nullptr) << kind;
  }
  const Layer* const luks = standard_formats().by_kind("luks");
  ASSERT_NE(luks, nullptr) << "what a person names is answered";
  EXPECT_EQ(standard_formats().for_detached_header(), luks);
  const Member member{made("true"), nullptr, "disk", "disk", false, nullptr};
  const KeyRing keys;
  const Limits limits;
  EXPECT_THROW((void)luks->open({{&member, 1}, keys, limits, nullptr, 0}), Error);
}

}  // namespace
}  // namespace peelfs::test
