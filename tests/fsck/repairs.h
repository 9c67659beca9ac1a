// Images for tests of `peelfs fsck --repair`.
#pragma once

#include <string>

#include "fsck/fleet.h"

namespace peelfs::test {

/// Lets both super blocks of a btrfs say that more bytes are used than are.
inline constexpr const char* kDamageBtrfs = R"(
import struct, sys
table = []
for i in range(256):
    for _ in range(8):
        i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
    table.append(i)
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xffffffff
for path in sys.argv[1:]:
    with open(path, 'r+b') as disk:
        for at in (0x10000, 0x4000000):
            disk.seek(at)
            block = bytearray(disk.read(4096))
            used = struct.unpack_from('<Q', block, 0x78)[0]
            struct.pack_into('<Q', block, 0x78, used + 65536)
            struct.pack_into('<I', block, 0, crc32c(block[32:]))
            disk.seek(at)
            disk.write(block)
)";

class FsckRepair : public FsckFleet {
 protected:
  void SetUp() override {
    FsckFleet::SetUp();
    if (!IsSkipped() && !have_program("debugfs")) GTEST_SKIP() << "debugfs is not installed";
  }

  /// What e2fsck says of a file.
  static int e2fsck(const std::string& path) {
    return run("PATH=$PATH:/sbin:/usr/sbin e2fsck -fn " + path + " 2>&1").exit_code;
  }

  /// A disk with two partitions that hold copies of these filesystems.
  std::string make_disk_of(const std::string& name, const std::string& first,
                           const std::string& second) const {
    const std::string disk = images_ / name;
    must_run("truncate -s 40M " + disk +
             " && printf 'start=2048,size=32768\\nstart=40960,size=32768\\n' | sfdisk -q " + disk +
             " && dd status=none conv=notrunc,sparse bs=512 seek=2048 if=" + first + " of=" + disk +
             " && dd status=none conv=notrunc,sparse bs=512 seek=40960 if=" + second +
             " of=" + disk);
    return disk;
  }

  /// Takes a partition of make_disk_of() out again. @param number 1 or 2
  std::string partition_of(const std::string& disk, int number) const {
    const std::string path = other_ / ("p" + std::to_string(number));
    must_run("dd status=none bs=512 count=32768 skip=" +
             std::string(number == 1 ? "2048" : "40960") + " if=" + disk + " of=" + path);
    return path;
  }

  void damage_btrfs(const std::string& devices) const {
    write_file(other_ / "damage.py", as_bytes(kDamageBtrfs));
    must_run("python3 " + (other_ / "damage.py") + " " + devices);
  }

  std::string digest(const std::string& path) const { return must_run("sha256sum < " + path); }
};

/// A damaged guest in a filesystem. @return its path
class FsckRepairNested : public FsckRepair {
 protected:
  std::string make_outer(bool damaged) const {
    const std::string inner = make_damaged_ext4("inner.img");
    const std::string outer = images_ / "outer.img";
    must_run("mkdir -p " + (other_ / "in") + " && mv " + inner + " " + (other_ / "in/guest.raw") +
             " && echo x > " + (other_ / "in/lost") + " && truncate -s 64M " + outer +
             " && mke2fs -q -F -t ext4 -d " + (other_ / "in") + " " + outer);
    if (damaged) must_run("debugfs -w -R 'clri /lost' " + outer + " 2>&1");
    return outer;
  }
  std::string inner_of(const std::string& outer) const {
    must_run("debugfs -R 'dump /guest.raw " + (other_ / "dumped") + "' " + outer + " 2>&1");
    return other_ / "dumped";
  }
};

}  // namespace peelfs::test
