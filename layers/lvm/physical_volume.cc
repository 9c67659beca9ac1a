#include "lvm/physical_volume.h"

#include <algorithm>

#include "lvm/crc.h"
#include "lvm/lvm_disk.h"
#include "peelfs/error.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"

namespace peelfs::lvm {

namespace {

std::string bytes_at(std::uint64_t size, std::uint64_t offset) {
  return figure(size) + " bytes at offset " + figure(offset);
}

void check_checksum(Bytes bytes, std::uint32_t stored, const std::string& what) {
  const std::uint32_t actual = crc32(bytes);
  if (actual == stored) return;
  throw Error(Fault::damaged, "checksum of the " + what + " is wrong")
      .found(hex(actual))
      .expected(hex(stored));
}

MdaHeader read_mda_header(const BlockDevice& device, std::uint64_t offset) {
  if (offset > device.size() || MdaHeader::kHeaderSize > device.size() - offset) {
    throw Error(Fault::damaged, "metadata area lies outside of the device")
        .found("offset " + std::to_string(offset))
        .expected("a device larger than its " + std::to_string(device.size()) + " bytes")
        .advice("the image may be truncated");
  }
  const Buffer sector = read_bytes(device, offset, MdaHeader::kHeaderSize);
  const MdaHeader header = decode_mda_header(sector);
  if (!ByteReader(sector, "mda_header").has(MdaHeader::kMagic, MdaHeader::kMagicText)) {
    throw Error(Fault::damaged, "metadata area has no header")
        .found("other bytes at offset " + std::to_string(offset + MdaHeader::kMagic))
        .expected("the magic \"" + std::string(MdaHeader::kMagicText) + "\"");
  }
  check_checksum(Bytes(sector).subspan(MdaHeader::kMagic), header.checksum, "metadata area header");
  if (header.version != 1) {
    throw Error(Fault::unsupported, "metadata area has an unknown version")
        .found(std::to_string(header.version))
        .expected("1");
  }
  if (header.start != offset) {
    throw Error(Fault::damaged, "metadata area header belongs elsewhere")
        .found("start " + figure(header.start))
        .expected(std::to_string(offset));
  }
  if (header.size <= MdaHeader::kHeaderSize) {
    throw Error(Fault::damaged, "metadata area is too small")
        .found(figure(header.size) + " bytes")
        .expected("more than its header's " + std::to_string(MdaHeader::kHeaderSize));
  }
  return header;
}

/// Where the committed text lies, in one or two parts.
TextLocation locate_text(const MdaHeader& header) {
  const RawLocation& raw = header.committed;
  const std::uint64_t room = header.size - MdaHeader::kHeaderSize;
  if (raw.offset < MdaHeader::kHeaderSize || raw.offset >= header.size || raw.size == 0 ||
      raw.size > room) {
    throw Error(Fault::damaged, "metadata text lies outside of its area")
        .found(bytes_at(raw.size, raw.offset))
        .expected("1 to " + figure(room) + " bytes at an offset from 512 to " +
                  figure(header.size - 1));
  }
  if (raw.size > kMaxMetadataText) {
    throw Error(Fault::damaged, "metadata text is larger than a volume group can need")
        .found(figure(raw.size) + " bytes")
        .expected("at most " + std::to_string(kMaxMetadataText));
  }
  // The area is circular, but for its header: what does not fit before the end goes on behind that.
  const std::uint64_t first = std::min(raw.size, header.size - raw.offset);
  TextLocation text;
  text.offset = checked_add(header.start, raw.offset, "offset of the metadata text");
  text.size = first;
  text.second_offset = checked_add(header.start, MdaHeader::kHeaderSize, "metadata area");
  text.second_size = raw.size - first;
  text.checksum = raw.checksum;
  return text;
}

MetadataCopy read_copy(const BlockDevice& device, const DiskLocation& area) {
  MetadataCopy copy;
  copy.area_offset = area.offset;
  try {
    const MdaHeader header = read_mda_header(device, area.offset);
    if ((header.committed.flags & RawLocation::kIgnored) != 0) {
      copy.state = MetadataCopy::State::ignored;
    } else if (header.committed.offset != 0) {
      copy.text = locate_text(header);
      copy.summary = summarize_metadata(read_text(device, copy.text));
      copy.state = MetadataCopy::State::valid;
    }
  } catch (const Error& error) {
    // The other copy, or another physical volume, may still tell.
    copy.state = MetadataCopy::State::damaged;
    copy.problem = error.what();
  }
  return copy;
}

/// @return the sector, or nothing when it cannot be read: then there is no telling what it was
Buffer read_sector(const BlockDevice& device, unsigned sector) {
  try {
    return read_up_to(device, std::uint64_t{sector} * kLabelSize, kLabelSize);
  } catch (const Error&) {
    return {};
  }
}

PhysicalVolume read_labelled(const BlockDevice& device, Bytes sector, unsigned label_sector) {
  const PvHeader header = decode_pv_header(sector, decode_label_header(sector).offset);
  if (!is_uuid(header.pv_uuid)) {
    throw Error(Fault::damaged, "LVM2 label holds no valid UUID")
        .found("\"" + header.pv_uuid + "\"")
        .expected("32 letters and digits");
  }
  PhysicalVolume volume;
  volume.uuid = header.pv_uuid;
  volume.device_size = header.device_size;
  volume.label_sector = label_sector;
  // Before version 2 of the extension LVM2 did not record it: then the volume may be in use.
  volume.in_use =
      header.extension_version < 2 || (header.extension_flags & PvHeader::kExtensionUsed) != 0;
  for (const DiskLocation& area : header.metadata_areas) {
    volume.copies.push_back(read_copy(device, area));
  }
  return volume;
}

}  // namespace

const MetadataCopy* PhysicalVolume::newest() const noexcept {
  const MetadataCopy* best = nullptr;
  for (const MetadataCopy& copy : copies) {
    if (copy.state != MetadataCopy::State::valid) continue;
    if (best == nullptr || copy.summary.seqno > best->summary.seqno) best = &copy;
  }
  return best;
}

bool PhysicalVolume::is_orphan() const noexcept {
  // An area that LVM2 was told to ignore, or that is damaged, may once have told otherwise.
  return !in_use && std::ranges::all_of(copies, [](const MetadataCopy& copy) {
    return copy.state == MetadataCopy::State::empty;
  });
}

std::string PhysicalVolume::damage() const {
  std::string text;
  for (const MetadataCopy& copy : copies) {
    if (copy.state != MetadataCopy::State::damaged) continue;
    if (!text.empty()) text += "; ";
    text += "metadata area at " + std::to_string(copy.area_offset) + ": " + copy.problem;
  }
  return text;
}

std::optional<PhysicalVolume> read_physical_volume(const BlockDevice& device) {
  std::optional<Error> damage;
  for (unsigned i = 0; i < kLabelScanSectors; ++i) {
    const Buffer sector = read_sector(device, i);
    if (sector.size() < kLabelSize) continue;
    const ByteReader reader(sector, "label_header");
    if (!reader.has(LabelHeader::kId, LabelHeader::kIdText) ||
        !reader.has(LabelHeader::kType, LabelHeader::kTypeText)) {
      continue;
    }
    const LabelHeader label = decode_label_header(sector);
    // A label in the wrong place was copied there with its surroundings; LVM2 passes over it, too.
    if (label.sector != i) continue;
    const std::uint32_t actual = crc32(Bytes(sector).subspan(LabelHeader::kOffset));
    if (actual == label.crc) return read_labelled(device, sector, i);
    damage = Error(Fault::damaged,
                   "checksum of the LVM2 label in sector " + std::to_string(i) + " is wrong")
                 .found(hex(actual))
                 .expected(hex(label.crc))
                 .advice("pvck --repair can write it again, on a copy of the disk");
  }
  if (damage) throw Error(*damage);
  return std::nullopt;
}

std::string read_text(const BlockDevice& device, const TextLocation& location) {
  std::string text;
  const auto append = [&](std::uint64_t offset, std::uint64_t size) {
    if (size == 0) return;
    if (offset > device.size() || size > device.size() - offset) {
      throw Error(Fault::damaged, "metadata text lies outside of the device")
          .found(bytes_at(size, offset))
          .expected("an end within its " + std::to_string(device.size()) + " bytes")
          .advice("the image may be truncated");
    }
    const Buffer part = read_bytes(device, offset, size);
    text += as_text(part);
  };
  append(location.offset, location.size);
  append(location.second_offset, location.second_size);
  check_checksum(as_bytes(text), location.checksum, "metadata text");
  text.resize(std::min(text.find('\0'), text.size()));
  return text;
}

}  // namespace peelfs::lvm
