#include "vhd/footer.h"

namespace peelfs {

namespace {

/// The one's complement of the sum of all bytes but those of the checksum itself.
bool checksum_fits(const ByteReader& reader, std::size_t place) {
  std::uint32_t sum = 0;
  for (std::size_t at = 0; at < reader.size(); ++at) {
    if (at < place || at >= place + 4) sum += reader.u8(at);
  }
  return reader.be32(place) == ~sum;
}

}  // namespace

std::optional<VhdFooter> VhdFooter::decode(Bytes sector) {
  const ByteReader reader(sector, "VHD footer");
  if (!reader.has(0, "conectix")) return std::nullopt;
  VhdFooter footer;
  footer.data_offset = reader.be64(16);
  footer.creator = as_text(reader.bytes(28, 4));
  footer.current_size = reader.be64(48);
  const std::uint64_t cylinders = reader.be16(56);
  const std::uint64_t heads = reader.u8(58);
  const std::uint64_t sectors = reader.u8(59);
  footer.geometry = cylinders * heads * sectors;
  footer.is_greatest = cylinders == 65535 && heads == 16 && sectors == 255;
  footer.disk_type = reader.be32(60);
  footer.intact = checksum_fits(reader, 64);
  return footer;
}

std::uint64_t VhdFooter::disk_size() const {
  const bool means_geometry = creator == "vpc " || creator == "qemu";
  return means_geometry && !is_greatest && geometry != 0 ? geometry * 512 : current_size;
}

std::optional<VhdDynamicHeader> VhdDynamicHeader::decode(Bytes bytes) {
  const ByteReader reader(bytes, "VHD dynamic disk header");
  if (!reader.has(0, "cxsparse")) return std::nullopt;
  VhdDynamicHeader header;
  header.table_offset = reader.be64(16);
  header.max_table_entries = reader.be32(28);
  header.block_size = reader.be32(32);
  header.intact = checksum_fits(reader, 36);
  return header;
}

}  // namespace peelfs
