#include "vhd/footer.h"

namespace peelfs {

std::optional<VhdFooter> VhdFooter::decode(Bytes sector) {
  const ByteReader reader(sector, "VHD footer");
  if (!reader.has(0, "conectix")) return std::nullopt;
  constexpr std::size_t kChecksum = 64;
  std::uint32_t sum = 0;  // of all bytes but those of the checksum
  for (std::size_t at = 0; at < kSize; ++at) {
    if (at < kChecksum || at >= kChecksum + 4) sum += reader.u8(at);
  }
  VhdFooter footer;
  footer.intact = reader.be32(kChecksum) == ~sum;
  footer.current_size = reader.be64(48);
  footer.disk_type = reader.be32(60);
  return footer;
}

}  // namespace peelfs
