#include "foreign/checks.h"
#include "foreign/sector.h"
#include "vhd/footer.h"

namespace peelfs::foreign {

namespace {

/// SparseExtentHeader of VMware's "Virtual Disk Format 5.0".
struct VmdkHeader {
  bool sane = false;
  bool has_descriptor = false;
};

VmdkHeader vmdk_header(const BlockDevice& device) {
  const Buffer bytes = sector_at(device, 0);
  const ByteReader header(bytes, "VMDK header");
  const std::uint32_t version = header.le32(4);
  const std::uint64_t descriptor = header.le64(28);  // in sectors; qemu gives one to every extent,
  bool has_descriptor = false;                       // with nothing in it where it has none
  if (descriptor != 0 && descriptor < device.size() / kSector) {
    const Buffer text = sector_at(device, descriptor * kSector);
    has_descriptor = ByteReader(text, "VMDK descriptor").has(0, "# Disk");
  }
  return {header.has(0, "KDMV") && version >= 1 && version <= 3, has_descriptor};
}

}  // namespace

bool is_vmdk_extent(const BlockDevice& device) {
  const Buffer bytes = sector_at(device, 0);
  if (ByteReader(bytes, "VMDK header").has(0, "COWD")) return true;
  const VmdkHeader header = vmdk_header(device);
  return header.sane && header.has_descriptor;
}

bool is_vmdk_part(const BlockDevice& device) {
  const Buffer bytes = sector_at(device, 0);
  return !ByteReader(bytes, "VMDK header").has(0, "KDMV") || vmdk_header(device).sane;
}

bool is_differencing_vhd(const BlockDevice& device) {
  const auto footer = VhdFooter::decode(sector_at(device, 0));
  return footer && footer->intact && footer->disk_type == VhdFooter::kDifferencing;
}

// [MS-VHDX] 2.2.3 and 2.6: the region table leads to the metadata table, that to the file
// parameters, and these say HasParent.
bool is_differencing_vhdx(const BlockDevice& device) {
  constexpr std::string_view kMetadataRegion =
      "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
  constexpr std::string_view kFileParameters =
      "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
  constexpr std::size_t kEntry = 32;
  for (const std::uint64_t place : {192U << 10U, 256U << 10U}) {
    const Buffer region_bytes = sector_at(device, place);
    const ByteReader regions(region_bytes, "VHDX region table");
    if (!regions.has(0, "regi")) continue;
    for (std::size_t at = 16; at + kEntry <= kSector; at += kEntry) {
      if (!regions.has(at, kMetadataRegion)) continue;
      const std::uint64_t metadata = regions.le64(at + 16);
      const Buffer table_bytes = sector_at(device, metadata);
      const ByteReader table(table_bytes, "VHDX metadata table");
      if (!table.has(0, "metadata")) return false;
      for (std::size_t item = kEntry; item + kEntry <= kSector; item += kEntry) {
        if (!table.has(item, kFileParameters)) continue;
        const std::uint64_t offset = metadata + table.le32(item + 16);
        const Buffer parameter_bytes = sector_at(device, offset);
        constexpr std::uint32_t kHasParent = 2;
        return (ByteReader(parameter_bytes, "VHDX file parameters").le32(4) & kHasParent) != 0;
      }
    }
    return false;
  }
  return false;
}

bool is_differencing_vdi(const BlockDevice& device) {
  const Buffer bytes = sector_at(device, 0);
  constexpr std::uint32_t kDiff = 4;  // VDIIMAGETYPE
  return ByteReader(bytes, "VDI header").le32(76) == kDiff;
}

// The trailer names the pieces of the file, which must all lie before it: four letters at the end
// of a disk are no proof.
bool is_dmg(const BlockDevice& device) {
  if (device.size() < kSector) return false;
  const std::uint64_t end = device.size() - kSector;
  const Buffer bytes = sector_at(device, end);
  const ByteReader koly(bytes, "UDIF trailer");
  const auto inside = [&](std::size_t at) {
    const std::uint64_t offset = koly.be64(at);
    return offset <= end && koly.be64(at + 8) <= end - offset;
  };
  constexpr std::uint32_t kVersion = 4;
  constexpr std::size_t kDataFork = 24;
  constexpr std::size_t kResourceFork = 40;
  constexpr std::size_t kPlist = 216;
  const bool described = koly.be64(kResourceFork + 8) != 0 || koly.be64(kPlist + 8) != 0;
  return koly.be32(4) == kVersion && koly.be32(8) == kSector && described && inside(kDataFork) &&
         inside(kResourceFork) && inside(kPlist);
}

bool is_later_ewf_segment(const BlockDevice& device) {
  const Buffer bytes = sector_at(device, 0);
  return ByteReader(bytes, "EWF header").le16(9) > 1;  // fields_segment
}

// A zip archive whose first file has this name, by the specification of AFF4.
bool is_aff4(const BlockDevice& device) {
  const Buffer bytes = sector_at(device, 0);
  return ByteReader(bytes, "zip header").has(30, "container.description");
}

bool is_bzip2(const BlockDevice& device) {
  const Buffer bytes = sector_at(device, 0);
  const ByteReader header(bytes, "bzip2 header");
  return header.has(0, "BZh") && header.u8(3) >= '1' && header.u8(3) <= '9';
}

}  // namespace peelfs::foreign
