#include "lvm/crc.h"

#include <array>

namespace peelfs::lvm {

namespace {

using Table = std::array<std::uint32_t, 256>;

// Tables for eight bytes at a time: a volume group on 64 disks has 64 copies of its metadata, and
// all of them are summed when it is opened.
constexpr std::array<Table, 8> make_tables() {
  std::array<Table, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? (crc >> 1U) ^ 0xedb88320U : crc >> 1U;
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8U) ^ tables[0][before & 0xffU];
    }
  }
  return tables;
}

constexpr std::array<Table, 8> kTables = make_tables();

}  // namespace

std::uint32_t crc32(Bytes bytes, std::uint32_t crc) noexcept {
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(bytes[i]); };
  while (bytes.size() >= 8) {
    crc ^= at(0) | at(1) << 8U | at(2) << 16U | at(3) << 24U;
    crc = kTables[7][crc & 0xffU] ^ kTables[6][(crc >> 8U) & 0xffU] ^
          kTables[5][(crc >> 16U) & 0xffU] ^ kTables[4][crc >> 24U] ^ kTables[3][at(4)] ^
          kTables[2][at(5)] ^ kTables[1][at(6)] ^ kTables[0][at(7)];
    bytes = bytes.subspan(8);
  }
  for (const std::byte byte : bytes) {
    crc = (crc >> 8U) ^ kTables[0][(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xffU];
  }
  return crc;
}

}  // namespace peelfs::lvm
