#include "maker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace peelfs::test {

namespace {

void put(Buffer& buffer, std::size_t at, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    buffer.at(at + i) = static_cast<std::byte>((value >> (8 * i)) & 0xffU);
  }
}

void put_text(Buffer& buffer, std::size_t at, const std::string& text) {
  for (std::size_t i = 0; i < text.size(); ++i) buffer.at(at + i) = static_cast<std::byte>(text[i]);
}

}  // namespace

std::uint32_t lvm_crc(Bytes bytes) {
  static const std::vector<std::uint32_t> table = [] {
    std::vector<std::uint32_t> made;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      std::uint32_t crc = byte;
      for (int i = 0; i < 8; ++i) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0xedb88320U : 0U);
      made.push_back(crc);
    }
    return made;
  }();
  std::uint32_t crc = 0xf597a6cf;
  for (const std::byte byte : bytes) {
    crc = (crc >> 8U) ^ table[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xffU];
  }
  return crc;
}

void StampedDisk::compute(std::uint64_t offset, MutableBytes out) const {
  for (const auto& [begin, bytes] : written_) {
    if (begin <= offset && offset + out.size() <= begin + bytes.size()) {
      std::memcpy(out.data(), bytes.data() + (offset - begin), out.size());
      return;
    }
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint64_t at = offset + i;
    out[i] = static_cast<std::byte>((stamp(number_, at) >> (8 * (at % 8))) & 0xffU);
  }
  for (const auto& [begin, bytes] : written_) {
    const std::uint64_t from = std::max(begin, offset);
    const std::uint64_t to = std::min<std::uint64_t>(begin + bytes.size(), offset + out.size());
    if (from < to)
      std::memcpy(out.data() + (from - offset), bytes.data() + (from - begin), to - from);
  }
}

void StampedDisk::write(std::uint64_t offset, Bytes bytes) {
  if (bytes.empty()) return;
  // Later writes win: what overlaps is read, changed and kept as one.
  std::uint64_t begin = offset, end = offset + bytes.size();
  for (const auto& [at, old] : written_) {
    if (at < end && at + old.size() > begin) {
      begin = std::min(begin, at);
      end = std::max<std::uint64_t>(end, at + old.size());
    }
  }
  Buffer merged(end - begin);
  compute(begin, merged);
  std::memcpy(merged.data() + (offset - begin), bytes.data(), bytes.size());
  std::erase_if(written_, [&](const auto& one) { return one.first >= begin && one.first < end; });
  written_[begin] = std::move(merged);
}

void StampedDisk::flip(std::uint64_t offset) {
  std::byte byte{};
  compute(offset, {&byte, 1});
  byte ^= std::byte{0x40};
  write(offset, {&byte, 1});
}

std::uint64_t word_at(const BlockDevice& device, std::uint64_t offset) {
  const Buffer buffer = read_bytes(device, offset, 8);
  return ByteReader(buffer, "word").le64(0);
}

void write_label(StampedDisk& disk, unsigned sector, Buffer label) {
  put(label, 16, lvm_crc(Bytes(label).subspan(20)), 4);
  disk.write(sector * 512ULL, label);
}

void write_area_header(StampedDisk& disk, std::uint64_t start, Buffer header) {
  put(header, 0, lvm_crc(Bytes(header).subspan(4)), 4);
  disk.write(start, header);
}

void write_volume(StampedDisk& disk, const VolumeSpec& spec) {
  disk.write(0, Buffer(2048));
  Buffer label(512);
  put_text(label, 0, "LABELONE");
  put(label, 8, spec.label_sector, 8);
  put(label, 20, spec.header_offset, 4);
  put_text(label, 24, "LVM2 001");
  std::size_t at = spec.header_offset;
  put_text(label, at, spec.uuid);
  put(label, at + 32, disk.size(), 8);
  put(label, at + 40, spec.data_start, 8);
  at += 40 + 16 + 16;  // one data area, the list's end
  for (const AreaSpec& area : spec.areas) {
    put(label, at, area.start, 8);
    put(label, at + 8, area.size, 8);
    at += 16;
  }
  at += 16;
  put(label, at, spec.extension_version, 4);
  put(label, at + 4, spec.extension_flags, 4);
  write_label(disk, spec.label_sector, label);

  for (const AreaSpec& area : spec.areas) {
    Buffer header(512);
    put_text(header, 4, std::string(" LVM2 x[5A%r0N*>"));
    put(header, 20, 1, 4);
    put(header, 24, area.start, 8);
    put(header, 32, area.size, 8);
    if (!area.text.empty()) {
      const std::string text = area.text + '\0';
      put(header, 40, area.text_offset, 8);
      put(header, 48, text.size(), 8);
      put(header, 56, lvm_crc(as_bytes(text)), 4);
      const std::uint64_t room = area.size - area.text_offset;
      const std::uint64_t first = std::min<std::uint64_t>(room, text.size());
      disk.write(area.start + area.text_offset, as_bytes(text).first(first));
      disk.write(area.start + 512, as_bytes(text).subspan(first));
    }
    put(header, 60, area.flags, 4);
    write_area_header(disk, area.start, header);
  }
}

std::string pv_uuid(unsigned number) {
  char text[33];
  std::snprintf(text, sizeof text, "PV%030u", number);
  return text;
}

std::string hyphenated(const std::string& uuid) {
  return uuid.substr(0, 6) + "-" + uuid.substr(6, 4) + "-" + uuid.substr(10, 4) + "-" +
         uuid.substr(14, 4) + "-" + uuid.substr(18, 4) + "-" + uuid.substr(22, 4) + "-" +
         uuid.substr(26, 6);
}

std::string GroupSpec::text() const {
  std::string out =
      name + " {\nid = \"" + hyphenated(uuid) + "\"\nseqno = " + std::to_string(seqno) +
      "\nformat = \"lvm2\"\nstatus = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\nflags = []\n" +
      "extent_size = " + std::to_string(extent_size) + "\nmax_lv = 0\nmax_pv = 0\n" +
      "metadata_copies = 0\n" + more + "\nphysical_volumes {\n";
  for (unsigned i = 0; i < members; ++i) {
    const auto flags = member_flags.find(i);
    out += "pv" + std::to_string(i) + " {\nid = \"" + hyphenated(pv_uuid(i)) +
           "\"\ndevice = \"/dev/sd" + static_cast<char>('a' + i % 26) +
           "\"\n\nstatus = [\"ALLOCATABLE\"]\nflags = [" +
           (flags != member_flags.end() ? "\"" + flags->second + "\"" : "") +
           "]\ndev_size = " + std::to_string(dev_size != 0 ? dev_size : device_bytes() / 512) +
           "\npe_start = " + std::to_string(pe_start) + "\npe_count = " + std::to_string(pe_count) +
           "\n}\n\n";
  }
  out += "}\n\nlogical_volumes {\n\n" + volumes + "}\n\n}\n";
  out += "# Generated by peelfs' tests\n\ncontents = \"Text Format Volume Group\"\nversion = 1\n\n";
  out += "description = \"with a { brace and a \\\" quote\"\n\ncreation_host = \"h\"\t# Linux h\n";
  out += "creation_time = 1795222956\t# Sat Nov 21 01:02:44 2026\n\n";
  return out;
}

std::uint64_t GroupSpec::device_bytes() const {
  return (pe_start + pe_count * extent_size) * 512;
}

std::string segment_text(std::uint64_t start, std::uint64_t count, const std::string& body) {
  return "start_extent = " + std::to_string(start) + "\nextent_count = " + std::to_string(count) +
         "\n\n" + body + "\n";
}

std::string volume_text(const std::string& name, const std::vector<std::string>& segments,
                        const std::string& status) {
  std::string out = name + " {\nid = \"" + hyphenated("LVLVLVLVLVLVLVLVLVLVLVLVLVLVLVLV") +
                    "\"\nstatus = [" + status + "]\nflags = []\ncreation_time = 1795222956\n" +
                    "creation_host = \"h\"\nsegment_count = " + std::to_string(segments.size()) +
                    "\n\n";
  for (std::size_t i = 0; i < segments.size(); ++i) {
    out += "segment" + std::to_string(i + 1) + " {\n" + segments[i] + "}\n";
  }
  return out + "}\n\n";
}

std::string linear_on(const std::string& volume, std::uint64_t extent) {
  return "type = \"striped\"\nstripe_count = 1\t# linear\n\nstripes = [\n\"" + volume + "\", " +
         std::to_string(extent) + "\n]";
}

std::string linear_volume(const std::string& name, const std::string& on, std::uint64_t extent,
                          std::uint64_t count) {
  return volume_text(name, {segment_text(0, count, linear_on(on, extent))});
}

std::string hidden_volume(const std::string& name, const std::string& on, std::uint64_t extent,
                          std::uint64_t count) {
  return volume_text(name, {segment_text(0, count, linear_on(on, extent))}, "\"READ\", \"WRITE\"");
}

std::vector<StampedDiskPtr> make_group(const GroupSpec& spec) {
  std::vector<StampedDiskPtr> disks;
  const std::string text = spec.text();
  for (unsigned i = 0; i < spec.members; ++i) {
    disks.push_back(std::make_shared<StampedDisk>(i, spec.device_bytes()));
    VolumeSpec volume;
    volume.uuid = pv_uuid(i);
    volume.areas.push_back({});
    volume.areas.back().text = text;
    write_volume(*disks.back(), volume);
  }
  return disks;
}

std::vector<DevicePtr> as_devices(const std::vector<StampedDiskPtr>& disks) {
  return {disks.begin(), disks.end()};
}

}  // namespace peelfs::test
