// What the tests of partition tables share: opening a disk as the scanner would, listing what came
// out, and asking libblkid (partx) for the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "peelfs/layer.h"
#include "support/support.h"

namespace peelfs::test {

/// One partition as a test compares it. Offsets and sizes in bytes.
struct Listed {
  unsigned number = 0;
  std::uint64_t start = 0;
  std::uint64_t size = 0;
  std::string uuid, label, type;
  bool operator==(const Listed&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Listed& listed);

struct Peeled {
  std::string row;  ///< "gpt", "mbr", or empty: no row claimed it
  Claim claim;
  Opened opened;
  /// The partitions with bytes, with their place found through the extents of the device.
  std::vector<Listed> list() const;
  /// The device named "diskpN". @throws std::out_of_range
  const Inner& at(unsigned number) const;
  bool has(unsigned number) const;
  std::string reason() const { return opened.trouble ? opened.trouble->reason : ""; }
  std::string state() const {
    return opened.trouble ? std::string(state_name(opened.trouble->state)) : "";
  }
};

/// Asks the rows in the order of the table: gpt, then mbr.
Peeled peel(const DevicePtr& device, const Identity& identity = {});

/// What libblkid makes of the file. @param options more options of partx: "-S 4096"
std::vector<Listed> partx(const std::string& path, const std::string& options = "");

/// A file of `size` bytes (truncate's notation), sparse, with `script` fed to sfdisk.
void make_sfdisk(const std::string& path, const std::string& size, const std::string& script);

/// Runs fdisk with another sector size on a new sparse file; needs no privilege.
void make_fdisk(const std::string& path, const std::string& size, unsigned sector_size,
                const std::string& keys);

/// Little-endian bytes in the middle of an image.
void put_le(Buffer& bytes, std::size_t at, std::uint64_t value, unsigned width);
std::uint64_t get_le(const Buffer& bytes, std::size_t at, unsigned width);

/// Makes the checksums of a GPT header (and of its array, when it is in the buffer) right again.
void fix_gpt(Buffer& disk, std::uint64_t header_at, unsigned sector_size = 512, bool array = true);

/// A signed sector with up to four entries.
struct Slot {
  unsigned type = 0;
  std::uint32_t start = 0, count = 0;
  unsigned boot = 0;
};
void put_mbr(Buffer& disk, std::uint64_t sector, const std::vector<Slot>& slots,
             std::uint32_t signature = 0);

}  // namespace peelfs::test
