// A qcow2 image that lies in an ext filesystem is written to: it allocates clusters, so its file
// grows, so the filesystem allocates blocks.
#include <gtest/gtest.h>

#include "ext/ext.h"
#include "qcow2/overlay.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

Opened open_ext(const DevicePtr& device, Claim& claim) {
  claim = ext_probe({*device, {}}).value();
  const Member member{device, &claim, "disk", "disk", false, nullptr};
  const KeyRing keys;
  const Limits limits;
  return ext_open({{&member, 1}, keys, limits, nullptr, 0});
}

TEST(NestedWrite, Qcow2InExt) {
  for (const char* program : {"mke2fs", "debugfs", "e2fsck", "qemu-img"}) {
    if (!have_program(program)) GTEST_SKIP() << program << " is not installed";
  }
  for (const std::string kind : {"ext2", "ext4"}) {
    const TemporaryDirectory folder;
    const std::string image = folder / "image", inner = folder / "dumped.qcow2";
    must_run("mkdir " + (folder / "tree") + " && qemu-img create -q -f qcow2 " +
             (folder / "tree/os43.qcow2") + " 8M && truncate -s 32M " + image +
             " && /sbin/mke2fs -q -F -t " + kind + " -d " + (folder / "tree") + " " + image);
    Buffer whole;
    {
      Claim claim;
      const Opened opened = open_ext(writable_file_device(image), claim);
      ASSERT_EQ(opened.devices.size(), 1U);
      const DevicePtr disk = qcow2::open_overlay(opened.devices[0].device, nullptr, "os43");
      whole = check_write_contract(*disk);
    }
    must_run("/sbin/e2fsck -fn " + image);
    must_run("/sbin/debugfs -R 'dump /os43.qcow2 " + inner + "' " + image + " 2>/dev/null");
    must_run("qemu-img check " + inner);
    must_run("qemu-img convert -O raw " + inner + " " + (folder / "raw"));
    EXPECT_TRUE(read_file(folder / "raw") == whole) << kind;
  }
}

}  // namespace
}  // namespace peelfs::test
