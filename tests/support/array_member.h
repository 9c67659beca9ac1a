// Members of an array that peelfs does not open: what is written to one belongs to the others.
#pragma once

#include "support/support.h"

namespace peelfs::test {

/// Puts a superblock of Linux' MD (version 1.2, 4 KiB from the start) into a disk.
/// @param disk at least 2 MiB: libblkid does not look for arrays on what is as small as a floppy
/// @param array what makes up its UUID: members of one array have the same
inline void make_array_member(MutableBytes disk, unsigned char array) {
  constexpr std::size_t at = 4096;
  constexpr std::size_t size = 256;
  Buffer super(size);
  const auto le = [&](std::size_t offset, std::uint64_t value, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) {
      super[offset + i] = static_cast<std::byte>(value >> (8 * i));
    }
  };
  le(0, 0xa92b4efc, 4);                                   // magic
  le(4, 1, 4);                                            // major_version
  for (std::size_t i = 16; i < 32; ++i) le(i, array, 1);  // set_uuid
  le(72, 1, 4);                                           // level
  le(92, 2, 4);                                           // raid_disks
  le(144, at / 512, 8);                                   // super_offset
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < size; i += 4) {
    std::uint64_t word = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      word |= std::to_integer<std::uint64_t>(super[i + k]) << (8 * k);
    }
    sum += word;
  }
  le(216, (sum & 0xffff'ffff) + (sum >> 32U), 4);  // sb_csum
  std::copy(super.begin(), super.end(), disk.begin() + at);
}

}  // namespace peelfs::test
