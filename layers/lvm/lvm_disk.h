// What LVM2 (and LVM1) write at the start of a physical volume, and the metadata areas that this
// leads to. After the structures of LVM2's lib/label/label.h and lib/format_text/layout.h, whose
// names are kept. All numbers are little-endian.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peelfs/bytes.h"

namespace peelfs::lvm {

/// A label lies in one of the first four 512-byte sectors, also on disks with larger sectors.
inline constexpr std::size_t kLabelSize = 512;
inline constexpr unsigned kLabelScanSectors = 4;

/// struct label_header
struct LabelHeader {
  static constexpr std::size_t kId = 0;       ///< id[8]: "LABELONE"
  static constexpr std::size_t kSector = 8;   ///< sector_xl: 64 bit, where this label lies
  static constexpr std::size_t kCrc = 16;     ///< crc_xl: of what follows, to the sector's end
  static constexpr std::size_t kOffset = 20;  ///< offset_xl: 32 bit, of pv_header in the sector
  static constexpr std::size_t kType = 24;    ///< type[8]: "LVM2 001"
  static constexpr std::string_view kIdText = "LABELONE";
  static constexpr std::string_view kTypeText = "LVM2 001";

  std::uint64_t sector = 0;
  std::uint32_t crc = 0;
  std::uint32_t offset = 0;
};

/// struct disk_locn, in bytes. A list of them ends with one whose offset is 0.
struct DiskLocation {
  static constexpr std::size_t kSize = 16;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;  ///< 0 of a data area: to the end of the device
};

/// struct pv_header, its two lists, and struct pv_header_extension behind them
struct PvHeader {
  static constexpr std::size_t kPvUuid = 0;       ///< pv_uuid[32]
  static constexpr std::size_t kDeviceSize = 32;  ///< device_size_xl: 64 bit, bytes
  static constexpr std::size_t kDiskAreas = 40;   ///< disk_areas_xl: data areas, metadata areas
  static constexpr std::size_t kUuidLength = 32;
  static constexpr std::uint32_t kExtensionUsed = 1;  ///< PV_EXT_USED, from version 2 on

  std::string pv_uuid;  ///< the 32 characters as they stand
  std::uint64_t device_size = 0;
  std::vector<DiskLocation> data_areas;
  std::vector<DiskLocation> metadata_areas;
  std::uint32_t extension_version = 0;  ///< 0: there is no extension
  std::uint32_t extension_flags = 0;
};

/// struct raw_locn: where in the metadata area a text lies
struct RawLocation {
  static constexpr std::size_t kOffset =
      0;                                   ///< 64 bit, bytes from the start of the area; 0: no text
  static constexpr std::size_t kSize = 8;  ///< 64 bit, bytes
  static constexpr std::size_t kChecksum = 16;  ///< 32 bit
  static constexpr std::size_t kFlags = 20;     ///< 32 bit
  static constexpr std::uint32_t kIgnored = 1;  ///< RAW_LOCN_IGNORED

  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint32_t checksum = 0;
  std::uint32_t flags = 0;
};

/// struct mda_header. raw_locns[0] is the committed text; [1] is one that was never committed.
struct MdaHeader {
  static constexpr std::size_t kHeaderSize = 512;
  static constexpr std::size_t kChecksum =
      0;                                    ///< checksum_xl: of what follows, to the sector's end
  static constexpr std::size_t kMagic = 4;  ///< magic[16]
  static constexpr std::size_t kVersion = 20;  ///< 32 bit: 1
  static constexpr std::size_t kStart = 24;    ///< 64 bit: where this header lies, bytes
  static constexpr std::size_t kSize = 32;  ///< 64 bit: of the whole area, header included, bytes
  static constexpr std::size_t kRawLocations = 40;
  static constexpr std::string_view kMagicText = " LVM2 x[5A%r0N*>";

  std::uint32_t checksum = 0;
  std::uint32_t version = 0;
  std::uint64_t start = 0;
  std::uint64_t size = 0;
  RawLocation committed;
};

/// LVM1's struct pv_disk, as far as it is needed to name it.
struct Lvm1PvDisk {
  static constexpr std::size_t kId = 0;        ///< "HM"
  static constexpr std::size_t kVersion = 2;   ///< 16 bit: 1 or 2
  static constexpr std::size_t kPvUuid = 44;   ///< 128 bytes, 32 used
  static constexpr std::size_t kVgName = 172;  ///< 128 bytes
  static constexpr std::string_view kIdText = "HM";
};

LabelHeader decode_label_header(Bytes sector);
/// @throws Error(Fault::damaged) when a list leaves the sector
PvHeader decode_pv_header(Bytes sector, std::uint32_t offset);
MdaHeader decode_mda_header(Bytes sector);

/// @return whether these are 32 characters that LVM2 makes UUIDs of
bool is_uuid(std::string_view text) noexcept;
/// The 32 characters with hyphens as LVM2 shows them: 6-4-4-4-4-4-6.
std::string uuid_with_hyphens(std::string_view uuid);
/// The 32 characters of a UUID with hyphens anywhere. @return nullopt when it is none
std::optional<std::string> uuid_without_hyphens(std::string_view text);

}  // namespace peelfs::lvm
