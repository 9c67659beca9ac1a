// Fuzzes identify(): what it follows to fill in its copy, and libblkid on that copy. The first two
// bytes choose the size of the device, beyond what the input holds, and its block size.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "identify/identify.h"
#include "peelfs/devices.h"
#include "support/support.h"

namespace {

/// The input, with zeroes behind it, and its end repeated at the end of the device.
class Stretched : public peelfs::BlockDevice {
 public:
  Stretched(peelfs::Buffer bytes, std::uint64_t size, std::uint32_t sector_size)
      : BlockDevice(size, sector_size), bytes_(std::move(bytes)) {}
  peelfs::Extent map(std::uint64_t, std::uint64_t length) const override {
    return peelfs::Extent::computed(length);
  }
  void compute(std::uint64_t offset, peelfs::MutableBytes out) const override {
    std::fill(out.begin(), out.end(), std::byte{0});
    place(0, offset, out);
    place(size() - std::min<std::uint64_t>(size(), bytes_.size()), offset, out);
  }
  std::string describe() const override { return "stretched"; }

 private:
  /// What of the input, put at `start`, falls into `out`.
  void place(std::uint64_t start, std::uint64_t offset, peelfs::MutableBytes out) const {
    const std::uint64_t begin = std::max(start, offset);
    const std::uint64_t end = std::min<std::uint64_t>(start + bytes_.size(), offset + out.size());
    if (begin >= end) return;
    const peelfs::Bytes piece = peelfs::Bytes(bytes_).subspan(begin - start, end - begin);
    std::copy(piece.begin(), piece.end(),
              out.begin() + static_cast<std::ptrdiff_t>(begin - offset));
  }

  peelfs::Buffer bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > (1U << 20U)) return 0;
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  peelfs::Buffer head(bytes + 2, bytes + size);
  // From the input itself to 2^42 bytes, not always a round number.
  const unsigned shift = data[0] % 43;
  const std::uint64_t wanted = (1ULL << shift) + data[1];
  const std::uint64_t length = std::max<std::uint64_t>(head.size(), wanted);
  const Stretched device(std::move(head), length, (data[1] & 1U) != 0 ? 4096 : 512);
  peelfs::identify(device);
  return 0;
}
