#include "lvm/lvm_disk.h"

#include <algorithm>

#include "peelfs/error.h"

namespace peelfs::lvm {

namespace {

/// Reads a list that ends with an offset of 0. The reader's end bounds it.
/// @param at in: of the list; out: behind its end
std::vector<DiskLocation> decode_locations(const ByteReader& reader, std::size_t& at) {
  std::vector<DiskLocation> locations;
  while (true) {
    const DiskLocation location{reader.le64(at), reader.le64(at + 8)};
    at += DiskLocation::kSize;
    if (location.offset == 0) return locations;
    locations.push_back(location);
  }
}

}  // namespace

LabelHeader decode_label_header(Bytes sector) {
  const ByteReader reader(sector, "label_header");
  return {reader.le64(LabelHeader::kSector), reader.le32(LabelHeader::kCrc),
          reader.le32(LabelHeader::kOffset)};
}

PvHeader decode_pv_header(Bytes sector, std::uint32_t offset) {
  const ByteReader whole(sector, "LVM2 label");
  if (offset > sector.size()) {
    throw Error(Fault::damaged, "LVM2 label points outside of itself")
        .found("pv_header at offset " + std::to_string(offset))
        .expected("an offset below " + std::to_string(sector.size()));
  }
  const ByteReader reader(whole.bytes(offset, sector.size() - offset), "pv_header");
  PvHeader header;
  header.pv_uuid = as_text(reader.bytes(PvHeader::kPvUuid, PvHeader::kUuidLength));
  header.device_size = reader.le64(PvHeader::kDeviceSize);
  std::size_t at = PvHeader::kDiskAreas;
  header.data_areas = decode_locations(reader, at);
  header.metadata_areas = decode_locations(reader, at);
  // Labels from before LVM2 2.02.99 end here, with zeroes; a full sector leaves no room for it.
  if (at + 8 <= reader.size()) {
    header.extension_version = reader.le32(at);
    header.extension_flags = header.extension_version != 0 ? reader.le32(at + 4) : 0;
  }
  return header;
}

MdaHeader decode_mda_header(Bytes sector) {
  const ByteReader reader(sector, "mda_header");
  MdaHeader header;
  header.checksum = reader.le32(MdaHeader::kChecksum);
  header.version = reader.le32(MdaHeader::kVersion);
  header.start = reader.le64(MdaHeader::kStart);
  header.size = reader.le64(MdaHeader::kSize);
  const std::size_t at = MdaHeader::kRawLocations;
  header.committed = {reader.le64(at + RawLocation::kOffset), reader.le64(at + RawLocation::kSize),
                      reader.le32(at + RawLocation::kChecksum),
                      reader.le32(at + RawLocation::kFlags)};
  return header;
}

bool is_uuid(std::string_view text) noexcept {
  return text.size() == PvHeader::kUuidLength && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '!' || c == '#';
         });
}

std::string uuid_with_hyphens(std::string_view uuid) {
  std::string text;
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (i >= 6 && i <= 26 && (i - 6) % 4 == 0) text += '-';
    text += uuid[i];
  }
  return text;
}

std::optional<std::string> uuid_without_hyphens(std::string_view text) {
  std::string uuid(text);
  std::erase(uuid, '-');
  if (!is_uuid(uuid)) return std::nullopt;
  return uuid;
}

}  // namespace peelfs::lvm
