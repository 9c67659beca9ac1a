#include "btrfs/members.h"

#include <algorithm>

#include "peelfs/bytes.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::btrfs {

namespace {

constexpr std::uint64_t kSuperOffsets[] = {64U << 10U, 64U << 20U, 256ULL << 30U};
constexpr std::size_t kSuperSize = 4096;

std::optional<Membership> super_at(const BlockDevice& device, std::uint64_t offset) {
  try {
    if (device.size() < offset + kSuperSize) return std::nullopt;
    const Buffer bytes = read_bytes(device, offset, kSuperSize);
    const ByteReader super(bytes, "btrfs superblock");
    // bytenr: a copy knows where it belongs, and what lies elsewhere is a file's.
    if (!super.has(0x40, "_BHRfS_M") || super.le64(0x30) != offset) return std::nullopt;
    // fsid, num_devices, and devid of the dev_item that describes this device.
    return Membership{uuid_text(super.bytes(0x20, 16)), super.le64(0x88), super.le64(0xc9)};
  } catch (const Error&) {
    return std::nullopt;  // what cannot be read is no member that could be of use
  }
}

}  // namespace

std::optional<Membership> membership(const BlockDevice& device) {
  std::optional<Membership> found;
  for (const std::uint64_t offset : kSuperOffsets) {
    const auto super = super_at(device, offset);
    if (!super) continue;
    if (!found) {
      found = super;
    } else if (found->uuid == super->uuid) {
      found->devices = std::max(found->devices, super->devices);
    }
  }
  return found;
}

}  // namespace peelfs::btrfs
