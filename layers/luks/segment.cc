#include "luks/segment.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "peelfs/error.h"
#include "peelfs/figure.h"

namespace peelfs::luks {
namespace {

using Json = nlohmann::json;

Error damaged(const std::string& what) {
  return Error(Fault::damaged, "LUKS2 metadata: " + what);
}
Error unsupported(const std::string& what) {
  return Error(Fault::unsupported, what).advice("it comes in a later release");
}

/// A member of an object; null when it is not there.
const Json& member(const Json& object, const char* name) {
  static const Json nothing;
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found == object.end() ? nothing : *found;
}

std::string text_of(const Json& object, const char* name) {
  const Json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : "";
}

/// LUKS2 writes 64-bit numbers as strings of decimal digits, and small ones as numbers.
std::uint64_t number_of(const Json& object, const char* name) {
  const Json& value = member(object, name);
  if (value.is_number_unsigned()) return value.get<std::uint64_t>();
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  std::uint64_t number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc() || end != text.data() + text.size()) {
    throw damaged(std::string(name) + " is no number").found(text).expected("decimal digits");
  }
  return number;
}

bool has_text(const Json& array, std::string_view wanted) {
  return array.is_array() && std::any_of(array.begin(), array.end(), [&](const Json& value) {
           return value.is_string() && value.get_ref<const std::string&>() == wanted;
         });
}

bool is_backup(const Json& segment) {
  const Json& flags = member(segment, "flags");
  return flags.is_array() && std::any_of(flags.begin(), flags.end(), [](const Json& flag) {
           return flag.is_string() && flag.get_ref<const std::string&>().rfind("backup-", 0) == 0;
         });
}

/// The requirement is there from before a reencryption's first step until after its last. While
/// there is one segment in use, none of it in the hot zone, every byte is under that segment's key:
/// with the resilience modes checksum and journal the metadata names the hot zone before it is
/// written. (None and datashift do not, or move the data.)
void accept_idle_reencryption(const Json& root, Segment& result) {
  const auto in_progress = [](const std::string& found) {
    return unsupported("a reencryption of this LUKS2 volume is in progress")
        .found(found)
        .expected("one that was not started, or has ended");
  };
  for (const Json& segment : member(root, "segments")) {
    const Json& flags = member(segment, "flags");
    if (has_text(flags, "in-reencryption")) throw in_progress("a segment being reencrypted");
    if (has_text(flags, "backup-moved-segment")) throw in_progress("a segment being moved");
  }
  for (const Json& slot : member(root, "keyslots")) {
    if (text_of(slot, "type") != "reencrypt") continue;
    const std::string mode = text_of(slot, "mode");
    const std::string resilience = text_of(member(slot, "area"), "type");
    if (mode != "reencrypt" || (resilience != "checksum" && resilience != "journal")) {
      throw in_progress(
          std::string("mode \"").append(mode).append("\", resilience \"").append(resilience) +
          "\"");
    }
  }
  result.note = "a reencryption was prepared but has not changed any data";
}

void check_requirements(const Json& root, Segment& result) {
  const Json& mandatory = member(member(member(root, "config"), "requirements"), "mandatory");
  if (mandatory.is_null()) return;
  for (const Json& requirement : mandatory) {
    const std::string name = requirement.is_string() ? requirement.get<std::string>() : "?";
    if (name.rfind("online-reencrypt", 0) != 0) {
      throw unsupported("this LUKS2 volume has a requirement that peelfs does not meet")
          .found(name);
    }
    if (name != "online-reencrypt" && name != "online-reencrypt-v2") {
      throw unsupported("this LUKS2 volume needs a newer reencryption").found(name);
    }
    accept_idle_reencryption(root, result);
  }
}

void add_keys(const Json& root, const std::string& segment, Segment& result) {
  for (const Json& digest : member(root, "digests")) {
    if (text_of(digest, "type") == "pbkdf2") {
      result.digest_iterations =
          std::max(result.digest_iterations, number_of(digest, "iterations"));
    }
    if (!has_text(member(digest, "segments"), segment)) continue;
    const auto salt = decode_base64(text_of(digest, "salt"));
    const auto value = decode_base64(text_of(digest, "digest"));
    // Without one no volume key can be told to be right, but passphrases open the volume.
    if (text_of(digest, "type") == "pbkdf2" && salt && value) {
      result.digests.push_back(
          {text_of(digest, "hash"), number_of(digest, "iterations"), *salt, *value});
    }
    for (const Json& slot : member(digest, "keyslots")) {
      const std::string text = slot.is_string() ? slot.get<std::string>() : "";
      int number = -1;
      std::from_chars(text.data(), text.data() + text.size(), number);
      if (number < 0) continue;
      result.slots[number] = text_of(member(member(root, "keyslots"), text.c_str()), "type");
    }
  }
}

void decode_segment(const Json& segment, Segment& result) {
  const std::string type = text_of(segment, "type");
  if (type != "crypt") {
    throw unsupported("LUKS2 segment type cannot be read yet").found(type).expected("crypt");
  }
  result.cipher = text_of(segment, "encryption");
  if (const Json& integrity = member(segment, "integrity"); !integrity.is_null()) {
    throw unsupported("LUKS2 with authenticated encryption (dm-integrity) cannot be read yet")
        .found(text_of(integrity, "type") + " with " + result.cipher);
  }
  result.offset = number_of(segment, "offset");
  result.iv_offset = number_of(segment, "iv_tweak");
  const std::uint64_t sector_size = number_of(segment, "sector_size");
  if (sector_size < 512 || sector_size > 4096 || !std::has_single_bit(sector_size)) {
    throw damaged("sector_size of the segment is out of range")
        .found(figure(sector_size))
        .expected("512, 1024, 2048 or 4096");
  }
  result.sector_size = static_cast<std::uint32_t>(sector_size);
  if (text_of(segment, "size") != "dynamic") {
    result.size = number_of(segment, "size");
    if (result.size == 0 || result.size % sector_size != 0) {
      throw damaged("size of the segment is not a whole number of sectors")
          .found(figure(result.size))
          .expected("a multiple of " + std::to_string(sector_size));
    }
  }
  if (result.offset % 512 != 0) {
    throw damaged("offset of the segment is not aligned")
        .found(figure(result.offset))
        .expected("a multiple of 512");
  }
  (void)checked_add(result.offset, result.size, "end of the LUKS2 segment");
}

}  // namespace

Segment segment_of(const Phdr& header) {
  Segment segment;
  segment.cipher = header.cipher_name + "-" + header.cipher_mode;
  segment.offset = std::uint64_t{header.payload_offset} * 512;
  segment.digest_iterations = header.mk_digest_iterations;
  segment.digests.push_back(
      {header.hash_spec, header.mk_digest_iterations, header.mk_digest_salt, header.mk_digest});
  for (std::size_t i = 0; i < header.slots.size(); ++i) {
    const Phdr::KeySlot& slot = header.slots.at(i);
    // All slots have their area, in use or not.
    segment.header_end = std::max(
        segment.header_end, std::uint64_t{slot.key_material_offset} * 512 +
                                round_up(std::uint64_t{Phdr::kStripes} * header.key_bytes, 512));
    if (slot.active == Phdr::kSlotEnabled) segment.slots[static_cast<int>(i)] = "luks1";
  }
  return segment;
}

Segment segment_of(std::string_view json, std::uint64_t hdr_size) {
  const Json root = Json::parse(json, nullptr, false);
  if (root.is_discarded() || !root.is_object()) throw damaged("it is not JSON");

  Segment result;
  const std::uint64_t keyslots_size = number_of(member(root, "config"), "keyslots_size");
  if (keyslots_size > kGreatestKeyslotsArea) {
    throw damaged("keyslots_size is out of range")
        .found(figure(keyslots_size))
        .expected("at most " + std::to_string(kGreatestKeyslotsArea));
  }
  result.header_end = 2 * hdr_size + keyslots_size;

  std::optional<std::string> current;
  std::size_t count = 0;
  const Json& segments = member(root, "segments");
  if (!segments.is_object()) throw damaged("it has no segments");
  for (const auto& [name, segment] : segments.items()) {
    if (is_backup(segment)) continue;
    ++count;
    current = name;
  }
  if (count != 1) {
    throw unsupported(
        "LUKS2 with several data segments cannot be read yet (a reencryption in progress?)")
        .found(std::to_string(count) + " segments")
        .expected("1");
  }
  check_requirements(root, result);
  decode_segment(segments.at(*current), result);
  add_keys(root, *current, result);
  return result;
}

}  // namespace peelfs::luks
