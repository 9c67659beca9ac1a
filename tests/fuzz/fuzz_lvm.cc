// Fuzzes the row "lvm". The first byte chooses: bit 0, 1, 2: checksums of labels, area headers and
// texts are made right after the mutation; bit 3: the rest is not the disk but the metadata text of
// one that is made here, with a mirror log and RAID superblocks in its first extents; bit 4:
// 4096-byte sectors; bit 5: the disk is there twice.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "lvm/crc.h"
#include "lvm/lvm.h"
#include "peelfs/io.h"
#include "support/support.h"

namespace {

using namespace peelfs;

std::uint64_t get(const Buffer& bytes, std::size_t at, unsigned width) {
  std::uint64_t value = 0;
  for (unsigned i = width; i-- > 0;) {
    value = value << 8U | std::to_integer<std::uint64_t>(bytes[at + i]);
  }
  return value;
}

void put(Buffer& bytes, std::size_t at, std::uint64_t value, unsigned width) {
  for (unsigned i = 0; i < width; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

void put_text(Buffer& bytes, std::size_t at, std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) bytes[at + i] = static_cast<std::byte>(text[i]);
}

bool holds(const Buffer& disk, std::uint64_t at, std::uint64_t length) {
  return at <= disk.size() && length <= disk.size() - at;
}

void fix_area(Buffer& disk, std::uint64_t at, unsigned choice) {
  if (!holds(disk, at, 512)) return;
  const std::uint64_t start = get(disk, at + 24, 8), area = get(disk, at + 32, 8);
  const std::uint64_t offset = get(disk, at + 40, 8), size = get(disk, at + 48, 8);
  if ((choice & 4U) != 0 && area > 512 && offset < area && size <= area &&
      holds(disk, start, 512)) {
    const std::uint64_t first = std::min(size, area - offset);
    if (holds(disk, start + offset, first) && holds(disk, start + 512, size - first)) {
      const std::uint32_t crc = lvm::crc32(Bytes(disk).subspan(start + offset, first));
      put(disk, at + 56, lvm::crc32(Bytes(disk).subspan(start + 512, size - first), crc), 4);
    }
  }
  if ((choice & 2U) != 0) put(disk, at, lvm::crc32(Bytes(disk).subspan(at + 4, 508)), 4);
}

void fix_checksums(Buffer& disk, unsigned choice) {
  for (std::size_t at = 0; at < 2048 && holds(disk, at, 512); at += 512) {
    if (as_text(Bytes(disk).subspan(at, 8)) != "LABELONE") continue;
    // Every location of the label may be an area's.
    for (std::size_t i = 72; i + 8 <= 512; i += 16) fix_area(disk, get(disk, at + i, 8), choice);
    if ((choice & 1U) != 0) put(disk, at + 16, lvm::crc32(Bytes(disk).subspan(at + 20, 492)), 4);
  }
}

/// Extents of 8 sectors from sector 160 on: a mirror log, two RAID superblocks, data.
Buffer disk_with_text(Bytes text) {
  static const Buffer blank = test::pattern(128U << 10U, 1);
  Buffer disk = blank;
  std::fill_n(disk.begin(), 80U << 10U, std::byte{0});
  put_text(disk, 512, "LABELONE");
  put(disk, 512 + 8, 1, 8);
  put(disk, 512 + 20, 32, 4);
  put_text(disk, 512 + 24, "LVM2 001");
  put_text(disk, 544, "PV000000000000000000000000000000");
  put(disk, 544 + 32, disk.size(), 8);
  put(disk, 544 + 40, 80U << 10U, 8);
  put(disk, 544 + 72, 4096, 8);
  put(disk, 544 + 80, 76U << 10U, 8);
  put_text(disk, 4100, " LVM2 x[5A%r0N*>");
  put(disk, 4096 + 20, 1, 4);
  put(disk, 4096 + 24, 4096, 8);
  put(disk, 4096 + 32, 76U << 10U, 8);
  put(disk, 4096 + 40, 512, 8);
  put(disk, 4096 + 48, text.size() + 1, 8);
  put_text(disk, 4096 + 512, as_text(text));
  put(disk, 80U << 10U, 0x4D695272, 4);
  put(disk, (80U << 10U) + 4, 2, 4);
  put(disk, (80U << 10U) + 8, 64, 8);
  for (std::size_t i = 0; i < 2; ++i) {
    const std::size_t at = (84U + 4 * i) << 10U;
    std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(at), 512, std::byte{0});
    put(disk, at, 0x64526D44, 4);
    put(disk, at + 4, 1, 4);
    put(disk, at + 12, i, 4);
    put(disk, at + 16, 9 + i, 8);
    put(disk, at + 32, i == 0 ? 8 : ~0ULL, 8);
    put(disk, at + 48, 1, 4);
  }
  fix_checksums(disk, 7);
  return disk;
}

void look_into(const Inner& inner) {
  const BlockDevice& device = *inner.device;
  const std::uint64_t end = device.size();
  const auto attempt = [&](std::uint64_t offset) {
    try {
      read_up_to(device, offset, 1000);
      if (offset < end) block_status(device, offset, end - offset);
    } catch (const Error&) {
      // A volume of which nothing is said can be read everywhere: this disk has no bad sectors.
      if (!inner.trouble) std::abort();
    }
  };
  for (const std::uint64_t offset :
       {std::uint64_t{0}, end / 3, end / 2, end - std::min<std::uint64_t>(end, 1000)}) {
    attempt(offset);
  }
  if (end == 0) return;
  try {
    std::uint64_t at = 0;
    for (unsigned step = 0; step < 64 && at < end; ++step) at += device.map(at, end - at).length;
    if (at > end) std::abort();
  } catch (const Error&) {
    if (!inner.trouble) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > (64U << 10U)) return 0;
  const unsigned choice = data[0];
  const Bytes rest(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  Buffer disk;
  if ((choice & 8U) != 0) {
    disk = disk_with_text(rest);
  } else {
    disk.assign(rest.begin(), rest.end());
    fix_checksums(disk, choice);
  }
  const auto device =
      std::make_shared<test::MemoryDevice>(std::move(disk), (choice & 16U) != 0 ? 4096 : 512);
  const Identity identity;
  try {
    const auto claim = lvm_probe({*device, identity});
    if (!claim) return 0;
    Member member;
    member.device = device;
    member.claim = &*claim;
    member.stem = "disk";
    const std::vector<Member> members((choice & 32U) != 0 ? 2 : 1, member);
    const KeyRing keys;
    const Limits limits;
    const Opened opened = lvm_open({members, keys, limits, nullptr, 0});
    std::size_t looked = 0;
    for (const Inner& inner : opened.devices) {
      if (++looked > 64) break;
      look_into(inner);
    }
  } catch (const Error&) {
  }
  return 0;
}
