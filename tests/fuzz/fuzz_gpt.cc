// Fuzzes the row "gpt". The first byte chooses which checksums are made right after the mutation,
// so that the fuzzer gets behind them; the rest is the disk.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "fuzz/fuzz_row.h"
#include "partition/crc32.h"
#include "partition/partition.h"
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

void put32(Buffer& bytes, std::size_t at, std::uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

void fix_checksums(Buffer& disk, std::size_t at, std::size_t block, bool array) {
  if (at > disk.size() || disk.size() - at < 92) return;
  if (array) {
    const std::uint64_t begin = get(disk, at + 72, 8) * block;
    const std::uint64_t length = get(disk, at + 80, 4) * get(disk, at + 84, 4);
    if (begin <= disk.size() && length <= disk.size() - begin) {
      put32(disk, at + 88, crc32(Bytes(disk).subspan(begin, length)));
    }
  }
  put32(disk, at + 16, 0);
  const std::uint64_t size = get(disk, at + 12, 4);
  if (size <= disk.size() - at) put32(disk, at + 16, crc32(Bytes(disk).subspan(at, size)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > (1U << 20U)) return 0;
  const unsigned choice = data[0];
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  Buffer disk(bytes + 1, bytes + size);
  const std::uint32_t block = (choice & 8U) != 0 ? 4096 : 512;
  if ((choice & 1U) != 0) fix_checksums(disk, block, block, (choice & 4U) != 0);
  if ((choice & 2U) != 0 && disk.size() >= 2 * block) {
    fix_checksums(disk, (disk.size() / block - 1) * block, block, (choice & 4U) != 0);
  }
  const auto device =
      std::make_shared<test::MemoryDevice>(std::move(disk), (choice & 16U) != 0 ? 4096 : 512);
  const Identity identity;
  test::fuzz_row(&gpt_probe, &gpt_open, device, identity);
  return 0;
}
