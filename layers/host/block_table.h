// The block devices of the host as sysfs shows them, and what the kernel says of each.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace peelfs {

struct BlockNode {
  std::string name;  ///< in sysfs: "loop0p1", "dm-3", "md127"
  dev_t device = 0;
  std::string disk;  ///< the name of the disk of which it is a partition; empty: it is no partition
  bool read_only = false;
  std::vector<std::string> holders;  ///< names of the devices that are made of it
  std::string mapper_name;           ///< of device-mapper: "vg-root"
  std::string mapper_uuid;           ///< of device-mapper: "LVM-...", "CRYPT-LUKS2-..."
  std::string backing_file;  ///< of a loop device, as its path is seen now; empty: it is not in use
  std::uint64_t size = 0;    ///< bytes
  std::uint64_t size_limit = 0;  ///< of a loop device: bytes that it shows at most; 0: no limit
  bool autoclear = false;        ///< the loop device goes away with its last user
  pid_t server = 0;              ///< of an nbd device: the process that keeps it connected
  /// Where it begins in what lies directly below: a partition in its disk, a loop device in its
  /// backing file. Bytes.
  std::uint64_t offset = 0;

  /// As people call it: "/dev/mapper/vg-root", "/dev/loop0p1".
  std::string path() const;
};

/// @param sysfs where it is mounted: "/sys"
/// @return empty where there is no sysfs
std::vector<BlockNode> read_block_table(const std::string& sysfs);

}  // namespace peelfs
