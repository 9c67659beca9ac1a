// Fuzzes the row "mbr". The first byte chooses the block size and which sectors are signed after
// the mutation; the rest is the disk.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "fuzz/fuzz_row.h"
#include "partition/partition.h"
#include "support/support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace peelfs;
  if (size < 1 || size > (1U << 20U)) return 0;
  const unsigned choice = data[0];
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  Buffer disk(bytes + 1, bytes + size);
  const std::size_t signed_sectors = (choice & 1U) != 0   ? disk.size() / 512
                                     : disk.size() >= 512 ? 1
                                                          : 0;
  for (std::size_t sector = 0; sector < signed_sectors; ++sector) {
    disk[sector * 512 + 510] = std::byte{0x55};
    disk[sector * 512 + 511] = std::byte{0xAA};
    if ((choice & 2U) == 0) continue;
    for (std::size_t slot = 0; slot < 4; ++slot) {
      disk[sector * 512 + 446 + slot * 16] &= std::byte{0x80};
    }
  }
  const auto device =
      std::make_shared<test::MemoryDevice>(std::move(disk), (choice & 16U) != 0 ? 4096 : 512);
  Identity identity;
  if ((choice & 32U) != 0) identity.type = "ext4";
  test::fuzz_row(&mbr_probe, &mbr_open, device, identity);
  return 0;
}
