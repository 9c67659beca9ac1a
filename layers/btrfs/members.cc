#include "btrfs/members.h"

#include "peelfs/bytes.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::btrfs {

namespace {

constexpr std::uint64_t super_offset = 64U << 10U;
constexpr std::size_t super_size = 4096;

}  // namespace

std::optional<Membership> membership(const BlockDevice& device) {
  try {
    if (device.size() < super_offset + super_size) return std::nullopt;
    const Buffer bytes = read_bytes(device, super_offset, super_size);
    const ByteReader super(bytes, "btrfs superblock");
    if (!super.has(0x40, "_BHRfS_M")) return std::nullopt;
    // num_devices, and devid of the dev_item that describes this device.
    return Membership{uuid_text(super.bytes(0x20, 16)), super.le64(0x88), super.le64(0xc9)};
  } catch (const Error&) {
    return std::nullopt;  // what cannot be read is no member that could be of use
  }
}

}  // namespace peelfs::btrfs
