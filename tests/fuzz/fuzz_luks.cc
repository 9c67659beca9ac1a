// The LUKS layer on hostile bytes: probe, open with a key that opens the seeds, a few reads.
//
// The input is the head of a device of 3 MiB whose rest is zeroes. The seeds' key material is
// zeroes too (seeds_luks.py makes them), so a header of 592 bytes is a volume that opens. LUKS2
// checksums are made right again: otherwise hardly a mutation would get past them.
#include <gcrypt.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "crypto/gcrypt.h"
#include "luks/luks.h"
#include "luks/luks_disk.h"
#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/layer.h"

namespace peelfs {
namespace {

constexpr std::uint64_t device_size = 3ULL << 20U;

class HeadDevice final : public BlockDevice {
 public:
  explicit HeadDevice(Buffer head) : BlockDevice(device_size), head_(std::move(head)) {}
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override {
    std::fill(out.begin(), out.end(), std::byte{0});
    if (offset >= head_.size()) return;
    const std::size_t count = std::min<std::size_t>(out.size(), head_.size() - offset);
    std::copy_n(head_.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
  }
  std::string describe() const override { return "fuzz"; }

 private:
  Buffer head_;
};

void mend_checksum(Buffer& head, std::size_t at, std::string_view magic) {
  using luks::BinaryHeader;
  if (at > head.size() || head.size() - at < BinaryHeader::kSize) return;
  const MutableBytes rest = MutableBytes(head).subspan(at);
  if (luks::header_version(rest, magic) != 2) return;
  const BinaryHeader header = BinaryHeader::decode(rest);
  if (!luks::is_header_size(header.hdr_size) || header.hdr_size > rest.size()) return;
  const MutableBytes bytes = rest.first(header.hdr_size);
  std::fill_n(bytes.begin() + BinaryHeader::kCsumOffset, BinaryHeader::kCsumSize, std::byte{0});
  Buffer digest(32);
  gcry_md_hash_buffer(GCRY_MD_SHA256, digest.data(), bytes.data(), bytes.size());
  std::copy(digest.begin(), digest.end(), bytes.begin() + BinaryHeader::kCsumOffset);
}

void read_some(const BlockDevice& device) {
  if (device.size() == 0) return;
  const std::size_t length = std::min<std::uint64_t>(device.size(), 10'000);
  for (const std::uint64_t offset : {std::uint64_t{0}, device.size() / 2, device.size() - length}) {
    try {
      (void)read_bytes(device, offset, std::min<std::uint64_t>(length, device.size() - offset));
      (void)block_status(device, offset, 1);
    } catch (const Error&) {
      // A device may be damaged; a crash or a hang is what the fuzzer looks for.
    }
  }
}

void run(Buffer head) {
  require_gcrypt();
  mend_checksum(head, 0, luks::kPrimaryMagic);
  for (const std::uint64_t offset : luks::kHeaderSizes)
    mend_checksum(head, offset, luks::kSecondaryMagic);

  KeyRing keys;
  keys.add_for_all(Secret(as_bytes("fuzz")));
  Limits limits;
  limits.kdf_memory = 1U << 20U;
  limits.kdf_iterations = 4000;
  Member member;
  member.device = std::make_shared<HeadDevice>(std::move(head));
  member.tail = "fuzz";
  const std::vector<Member> members{member};
  try {
    if (!luks_probe({*member.device, Identity{}})) return;
    const Opened attached = luks_open({members, keys, limits, nullptr, 0});
    for (const Inner& inner : attached.devices) read_some(*inner.device);
  } catch (const Error&) {
  }
  try {
    const Directive directive{.device = "disk", .header = member.device};
    const Opened detached = luks_open({members, keys, limits, &directive, 0});
    for (const Inner& inner : detached.devices) read_some(*inner.device);
  } catch (const Error&) {
  }
}

}  // namespace
}  // namespace peelfs

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 256U * 1024U) return 0;
  peelfs::Buffer head(size);
  if (size != 0) std::memcpy(head.data(), data, size);
  peelfs::run(std::move(head));
  return 0;
}
