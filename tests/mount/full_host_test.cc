// A host's filesystem that is full.
#include <sys/mount.h>

#include "writable.h"

namespace peelfs::test {
namespace {

// A write that finds no space says how much of it was written, and changes nothing else.
TEST(FullHost, WhatIsRefusedHasNotChanged) {
  NEED_MOUNTS();
  NEED_ROOT();
  const TemporaryDirectory folder;
  const std::string full = folder / "full";
  must_run("mkdir " + sh(full));
  if (::mount("tmpfs", full.c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "no tmpfs can be mounted here";
  }
  const std::string path = full + "/disk.raw";
  // Every other 16 KiB is stored, and the rest has no place any more.
  must_run("truncate -s 4M " + sh(path) +
           " && for i in $(seq 0 2 62); do head -c 16384 /dev/zero | "
           "tr '\\0' a | dd status=none conv=notrunc bs=16384 seek=$i of=" +
           sh(path) + "; done; cat /dev/zero > " + sh(full + "/rest") + " 2>/dev/null; true");
  Buffer model = read_file(path);
  {
    const Mount mount("-o rw " + sh(path));
    EXPECT_TRUE(mount.mounted()) << mount.result().output;
    const Fd fd(mount / "disk", O_RDWR);
    for (unsigned i = 0; i < 40; ++i) {
      const std::uint64_t offset = 10'000 + 30'011 * i;
      const Buffer bytes = pattern(65'536, i);
      const ssize_t put =
          ::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (put < 0) {
        EXPECT_EQ(errno, ENOSPC);
        continue;
      }
      EXPECT_LT(put, 65'536);
      std::copy_n(bytes.begin(), put, model.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    EXPECT_TRUE(Fd(mount / "disk", O_RDONLY | O_DIRECT).error() == 0);
    EXPECT_TRUE(read_file(mount / "disk") == model);
  }
  EXPECT_TRUE(read_file(path) == model);
  ::umount2(full.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace peelfs::test
