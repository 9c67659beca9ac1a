// Fuzzes the row "vhd". The input is the file; its first bytes and its last sector become a footer,
// so that mutations reach what lies behind it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "fuzz/fuzz_row.h"
#include "support/support.h"
#include "vhd/vhd.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace peelfs;
  if (size < 512 || size > (1U << 20U)) return 0;
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  Buffer file(bytes, bytes + size);
  const Bytes cookie = as_bytes("conectix");
  std::copy(cookie.begin(), cookie.end(), file.begin());
  std::copy(cookie.begin(), cookie.end(), file.end() - 512);
  test::fuzz_row(&vhd_probe, &vhd_open, std::make_shared<test::MemoryDevice>(std::move(file)), {});
  return 0;
}
