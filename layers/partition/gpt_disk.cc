#include "partition/gpt_disk.h"

#include <algorithm>

namespace peelfs {

namespace {

void append_utf8(std::string& text, std::uint32_t code_point) {
  const auto put = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0U | (code_point >> 6U));
    put(0x80U | (code_point & 0x3FU));
  } else if (code_point < 0x10000) {
    put(0xE0U | (code_point >> 12U));
    put(0x80U | ((code_point >> 6U) & 0x3FU));
    put(0x80U | (code_point & 0x3FU));
  } else {
    put(0xF0U | (code_point >> 18U));
    put(0x80U | ((code_point >> 12U) & 0x3FU));
    put(0x80U | ((code_point >> 6U) & 0x3FU));
    put(0x80U | (code_point & 0x3FU));
  }
}

}  // namespace

GptHeader GptHeader::decode(Bytes block) {
  const ByteReader reader(block, "GPT header");
  GptHeader header;
  header.revision = reader.le32(8);
  header.header_size = reader.le32(12);
  header.header_crc32 = reader.le32(kChecksumOffset);
  header.my_lba = reader.le64(24);
  header.alternate_lba = reader.le64(32);
  header.first_usable_lba = reader.le64(40);
  header.last_usable_lba = reader.le64(48);
  header.disk_guid = guid_text(reader.bytes(56, 16));
  header.partition_entry_lba = reader.le64(72);
  header.number_of_entries = reader.le32(80);
  header.entry_size = reader.le32(84);
  header.entry_array_crc32 = reader.le32(88);
  return header;
}

std::optional<GptEntry> GptEntry::decode(Bytes bytes) {
  const ByteReader reader(bytes, "GPT partition entry");
  const Bytes type = reader.bytes(0, 16);
  if (std::all_of(type.begin(), type.end(), [](std::byte b) { return b == std::byte{0}; })) {
    return std::nullopt;
  }
  GptEntry entry;
  entry.type_guid = guid_text(type);
  entry.unique_guid = guid_text(reader.bytes(16, 16));
  entry.starting_lba = reader.le64(32);
  entry.ending_lba = reader.le64(40);
  entry.attributes = reader.le64(48);
  entry.name = gpt_name(reader.bytes(56, 72));
  return entry;
}

std::string gpt_name(Bytes utf16) {
  constexpr std::uint32_t kReplacement = 0xFFFD;
  const ByteReader reader(utf16, "GPT partition name");
  std::string name;
  for (std::size_t at = 0; at + 2 <= utf16.size(); at += 2) {
    const std::uint32_t unit = reader.le16(at);
    if (unit == 0) break;
    const bool high = unit >= 0xD800 && unit < 0xDC00;
    const bool low = unit >= 0xDC00 && unit < 0xE000;
    if (!high && !low) {
      append_utf8(name, unit);
      continue;
    }
    const std::uint32_t next = high && at + 4 <= utf16.size() ? reader.le16(at + 2) : 0;
    if (next >= 0xDC00 && next < 0xE000) {
      append_utf8(name, 0x10000 + ((unit - 0xD800) << 10U) + (next - 0xDC00));
      at += 2;
    } else {
      append_utf8(name, kReplacement);
    }
  }
  name.erase(name.find_last_not_of(" \t\n\v\f\r") + 1);
  return name;
}

}  // namespace peelfs
