#include "foreign/md_member.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "peelfs/bytes.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::foreign {

namespace {

constexpr std::uint32_t kMagic = 0xa92b4efc;  // MD_SB_MAGIC
constexpr std::size_t kSize = 4096;           // of a superblock; version 1 has the roles behind 256
constexpr std::uint64_t kSector = 512;
constexpr unsigned kMostDisks = 4096;

/// Version 1: the place where it must lie is in it, too.
std::optional<Membership> decode_1(const ByteReader& super, std::uint64_t at) {
  constexpr std::uint16_t kMostRole = 0xff00;  // MD_DISK_ROLE_MAX: those above are no place in it
  if (super.le32(0) != kMagic || super.le32(4) != 1) return std::nullopt;
  if (super.le64(144) != at / kSector) return std::nullopt;  // super_offset
  Membership says;
  says.group = uuid_text(super.bytes(16, 16));                             // set_uuid
  says.group_name = "md " + super.text(32, 32);                            // set_name
  says.member = uuid_text(super.bytes(168, 16));                           // device_uuid
  says.generation = super.le64(200);                                       // events
  const std::uint64_t role_at = 256 + 2 * std::uint64_t{super.le32(160)};  // dev_roles[dev_number]
  const bool spare = role_at + 2 > super.size() || super.le16(role_at) > kMostRole;
  const std::uint32_t disks = super.le32(92);  // raid_disks
  says.expected = spare || disks > kMostDisks ? 0 : disks;
  says.opened_together = false;
  return says;
}

/// Version 0.90, as little-endian hosts write it.
std::optional<Membership> decode_0(const ByteReader& super) {
  constexpr std::uint32_t kActive = 1U << 1;               // MD_DISK_ACTIVE
  constexpr std::size_t kThisDisk = std::size_t{992} * 4;  // this_disk
  if (super.le32(0) != kMagic || super.le32(4) != 0) return std::nullopt;
  std::array<std::byte, 16> uuid{};
  const auto take = [&](std::size_t to, std::size_t from) {
    const Bytes word = super.bytes(from, 4);
    std::copy(word.begin(), word.end(), uuid.begin() + static_cast<std::ptrdiff_t>(to));
  };
  take(0, 20);                                                  // set_uuid0
  for (std::size_t i = 1; i < 4; ++i) take(4 * i, 48 + 4 * i);  // set_uuid1 to 3
  Membership says;
  says.group = uuid_text(uuid);
  says.member = std::to_string(super.le32(kThisDisk));             // number
  says.generation = super.le64(156);                               // events_lo, events_hi
  const std::uint32_t disks = super.le32(40);                      // raid_disks
  const bool spare = (super.le32(kThisDisk + 16) & kActive) == 0;  // state
  says.expected = spare || disks > kMostDisks ? 0 : disks;
  says.opened_together = false;
  return says;
}

}  // namespace

std::optional<Membership> md_membership(const BlockDevice& device) {
  const std::uint64_t size = device.size();
  if (size < 2 * std::uint64_t{65536}) return std::nullopt;
  const std::uint64_t at_end = round_down(size / kSector - 16, 8) * kSector;
  const std::uint64_t old = round_down(size, 65536) - 65536;
  try {
    for (const std::uint64_t at : {std::uint64_t{4096}, std::uint64_t{0}, at_end}) {
      const Buffer bytes = read_bytes(device, at, kSize);
      if (auto found = decode_1(ByteReader(bytes, "MD superblock"), at)) return found;
    }
    const Buffer bytes = read_bytes(device, old, kSize);
    return decode_0(ByteReader(bytes, "MD superblock"));
  } catch (const Error&) {
    return std::nullopt;  // what cannot be read says nothing
  }
}

}  // namespace peelfs::foreign
