#include "partition/mbr_disk.h"

#include <algorithm>

namespace peelfs {

bool MbrSector::has_protective() const noexcept {
  return std::any_of(entries.begin(), entries.end(),
                     [](const MbrEntry& entry) { return entry.protective(); });
}

bool MbrSector::plausible() const noexcept {
  return std::all_of(entries.begin(), entries.end(), [](const MbrEntry& entry) {
    return entry.boot_indicator == 0 || entry.boot_indicator == 0x80;
  });
}

MbrSector MbrSector::decode(Bytes sector) {
  const ByteReader reader(sector, "MBR");
  MbrSector mbr;
  mbr.disk_signature = reader.le32(440);
  std::size_t at = 446;
  for (MbrEntry& entry : mbr.entries) {
    entry.boot_indicator = reader.u8(at);
    entry.os_type = reader.u8(at + 4);
    entry.starting_lba = reader.le32(at + 8);
    entry.size_in_lba = reader.le32(at + 12);
    at += MbrEntry::kSize;
  }
  mbr.signature = reader.le16(510);
  return mbr;
}

}  // namespace peelfs
