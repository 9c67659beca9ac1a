#include "overlay/fingerprint.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "crypto/gcrypt.h"
#include "overlay/hex_digits.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::overlay {

namespace {

constexpr std::uint64_t kEndLength = 1U << 20U;
constexpr std::uint64_t kSpreadLength = 64U << 10U;
constexpr std::uint64_t kSpreadCount = 64;
/// What an overlay may ask for: more than take_samples() and table_places() ever give.
constexpr std::size_t kMostSamples = 256;
constexpr std::uint64_t kMostSampled = 8U << 20U;
constexpr int kVersion = 1;

std::string sha256_of(Bytes bytes) {
  require_gcrypt();
  std::array<unsigned char, 32> digest{};
  gcry_md_hash_buffer(GCRY_MD_SHA256, digest.data(), bytes.data(), bytes.size());
  return hex_digits(digest);
}

std::vector<Sample> take_samples(const BlockDevice& disk) {
  std::vector<Sample> samples;
  const std::uint64_t size = disk.size();
  if (size == 0) return samples;
  samples.push_back(take_sample(disk, 0, std::min(size, kEndLength)));
  if (size <= kEndLength) return samples;
  samples.push_back(take_sample(disk, std::max(kEndLength, size - kEndLength),
                                std::min(kEndLength, size - kEndLength)));
  const std::uint64_t step = round_down(size / (kSpreadCount + 1), 4096);
  for (std::uint64_t i = 1; i <= kSpreadCount && step >= kSpreadLength; ++i) {
    samples.push_back(take_sample(disk, i * step, kSpreadLength));
  }
  return samples;
}

/// Whether the path that an overlay remembers leads to the device that it is given now.
bool same_device(const std::string& one, const std::string& other) {
  struct stat first {};
  struct stat second {};
  return ::stat(one.c_str(), &first) == 0 && ::stat(other.c_str(), &second) == 0 &&
         first.st_rdev == second.st_rdev;
}

std::string time_text(const timespec& time) {
  tm parts{};
  std::array<char, 64> text{};
  if (::localtime_r(&time.tv_sec, &parts) == nullptr) return std::to_string(time.tv_sec);
  text[std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts)] = '\0';
  // Without the nanoseconds two changes within one second would have the same time.
  std::string fraction = std::to_string(time.tv_nsec);
  fraction.insert(0, 9 - std::min<std::size_t>(9, fraction.size()), '0');
  return text.data() + ("." + fraction);
}

nlohmann::ordered_json encode(const std::vector<Sample>& samples) {
  auto json = nlohmann::ordered_json::array();
  for (const Sample& sample : samples) {
    json.push_back({sample.offset, sample.length, sample.sha256});
  }
  return json;
}

/// @throws Error when they are more than were ever taken: anyone may have written the overlay, and
///   all samples in it are read
std::vector<Sample> decode_samples(const nlohmann::json& json) {
  std::vector<Sample> samples;
  std::uint64_t bytes = 0;
  for (const auto& sample : json) {
    samples.push_back({sample.at(0).get<std::uint64_t>(), sample.at(1).get<std::uint64_t>(),
                       sample.at(2).get<std::string>()});
    const std::uint64_t length = samples.back().length;
    bytes += std::min(length, kMostSampled + 1);
    if (samples.size() > kMostSamples || bytes > kMostSampled) {
      throw Error(Fault::damaged, "the overlay names too many bytes of its source to be compared")
          .found(std::to_string(samples.size()) + " places, the last of " + std::to_string(length) +
                 " bytes")
          .expected("at most " + std::to_string(kMostSamples) + " places and " +
                    std::to_string(kMostSampled) + " bytes in all");
    }
  }
  return samples;
}

nlohmann::ordered_json encode(const std::vector<PartNote>& parts) {
  auto json = nlohmann::ordered_json::array();
  for (const PartNote& part : parts) {
    json.push_back({{"role", part.role},
                    {"path", part.path},
                    {"size", part.size},
                    {"mtime", {part.mtime.tv_sec, part.mtime.tv_nsec}}});
  }
  return json;
}

std::vector<PartNote> decode_parts(const nlohmann::json& json) {
  std::vector<PartNote> parts;
  for (const auto& part : json) {
    PartNote note;
    note.role = part.at("role").get<std::string>();
    note.path = part.at("path").get<std::string>();
    note.size = part.at("size").get<std::uint64_t>();
    note.mtime.tv_sec = part.at("mtime").at(0).get<std::time_t>();
    note.mtime.tv_nsec = part.at("mtime").at(1).get<long>();
    parts.push_back(std::move(note));
  }
  return parts;
}

bool same_time(const timespec& one, const timespec& other) {
  return one.tv_sec == other.tv_sec && one.tv_nsec == other.tv_nsec;
}

/// What speaks against the files that the disk's bytes come from besides the source; empty:
/// nothing. They are told apart by their place in the chain: it may have been moved as a whole.
std::string other_parts(const std::vector<PartNote>& stored, const std::vector<PartNote>& current) {
  for (std::size_t i = 0; i < std::max(stored.size(), current.size()); ++i) {
    if (i >= current.size()) {
      return "its " + stored[i].role + " " + printable(stored[i].path) +
             " is not there any more, or cannot be used";
    }
    if (i >= stored.size() || stored[i].role != current[i].role) {
      return "its bytes come from the " + current[i].role + " " + printable(current[i].path) +
             " too, and did not when it was covered";
    }
    if (stored[i].size != current[i].size || !same_time(stored[i].mtime, current[i].mtime)) {
      return "its " + current[i].role + " " + printable(current[i].path) +
             " was written to since (it was last changed on " + time_text(current[i].mtime) +
             " and has " + std::to_string(current[i].size) + " bytes; when it was covered, on " +
             time_text(stored[i].mtime) + " and " + std::to_string(stored[i].size) + ")";
    }
  }
  return "";
}

/// @return the first of them that is not among those that were read now
const Sample* first_other(const std::vector<Sample>& stored, const std::vector<Sample>& current) {
  const auto other = std::find_if(stored.begin(), stored.end(), [&](const Sample& sample) {
    return std::none_of(current.begin(), current.end(), [&](const Sample& now) {
      return now.offset == sample.offset && now.length == sample.length &&
             now.sha256 == sample.sha256;
    });
  });
  return other == stored.end() ? nullptr : &*other;
}

}  // namespace

Sample take_sample(const BlockDevice& disk, std::uint64_t offset, std::uint64_t length) {
  return {offset, length, sha256_of(read_bytes(disk, offset, length))};
}

std::string Sample::describe() const {
  if (offset == 0) return "the first " + std::to_string(length) + " bytes";
  return std::to_string(length) + " bytes at offset " + std::to_string(offset);
}

std::string absolute_path(const std::string& path) {
  std::error_code failed;
  const auto absolute = std::filesystem::absolute(path, failed);
  return failed ? path : absolute.lexically_normal().string();
}

Fingerprint describe_source(const Source& source, const Base& base) {
  Fingerprint result;
  result.path = absolute_path(source.path);
  result.format = base.format;
  result.size = base.disk->size();
  result.block_device = source.file->is_block_device();
  if (!result.block_device) result.mtime = source.file->modified();
  result.parts.emplace();
  for (const Part& part : base.parts) {
    if (part.file == nullptr) continue;  // it lies in the source itself
    PartNote note{part.role, absolute_path(part.name), part.file->size(), {}};
    if (!part.file->is_block_device()) note.mtime = part.file->modified();
    result.parts->push_back(std::move(note));
  }
  return result;
}

Fingerprint take_fingerprint(const Source& source, const Base& base) {
  Fingerprint result = describe_source(source, base);
  result.samples = take_samples(*base.disk);
  return result;
}

Buffer encode(const Fingerprint& fingerprint) {
  nlohmann::ordered_json json;
  json["version"] = kVersion;
  json["path"] = fingerprint.path;
  json["format"] = fingerprint.format;
  json["size"] = fingerprint.size;
  json["block_device"] = fingerprint.block_device;
  if (!fingerprint.block_device) {
    json["mtime"] = {fingerprint.mtime.tv_sec, fingerprint.mtime.tv_nsec};
  }
  if (fingerprint.parts) json["parts"] = encode(*fingerprint.parts);
  json["samples"] = encode(fingerprint.samples);
  if (!fingerprint.tables.empty()) json["tables"] = encode(fingerprint.tables);
  const std::string text =
      json.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
  const Bytes bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

Fingerprint decode_fingerprint(Bytes text) {
  try {
    const auto json = nlohmann::json::parse(as_text(text));
    if (json.at("version").get<int>() != kVersion) {
      throw Error(Fault::unsupported, "the overlay was made by a newer peelfs")
          .found("version " + std::to_string(json.at("version").get<int>()))
          .expected(std::to_string(kVersion));
    }
    Fingerprint result;
    result.path = json.at("path").get<std::string>();
    result.format = json.at("format").get<std::string>();
    result.size = json.at("size").get<std::uint64_t>();
    result.block_device = json.at("block_device").get<bool>();
    if (!result.block_device) {
      result.mtime.tv_sec = json.at("mtime").at(0).get<std::time_t>();
      result.mtime.tv_nsec = json.at("mtime").at(1).get<long>();
    }
    result.samples = decode_samples(json.at("samples"));
    if (json.contains("parts")) result.parts = decode_parts(json.at("parts"));
    if (json.contains("tables")) result.tables = decode_samples(json.at("tables"));
    return result;
  } catch (const nlohmann::json::exception& error) {
    throw Error(Fault::damaged, "what the overlay says of its source cannot be understood")
        .found(error.what());
  }
}

Difference compare(const Fingerprint& stored, const Fingerprint& current) {
  if (stored.format != current.format) {
    return {"it was made for a " + stored.format + " source, and this one is " + current.format};
  }
  if (stored.size != current.size) {
    return {"its source had " + std::to_string(stored.size) + " bytes, and this one has " +
            std::to_string(current.size)};
  }
  std::string parts;
  if (stored.parts && current.parts) parts = other_parts(*stored.parts, *current.parts);
  const std::string why = parts.empty() ? "" : "; " + parts;
  if (const Sample* const other = first_other(stored.samples, current.samples)) {
    return {"the source's bytes differ from those it was made for: " + other->describe() + why};
  }
  if (const Sample* const other = first_other(stored.tables, current.tables)) {
    return {"the source's bytes differ from those it was made for: " + other->describe() +
            ", where a table or a super block of what lies on it was" + why};
  }
  if (!parts.empty()) return {parts, false};
  if (stored.block_device != current.block_device) {
    return {"its source was " + std::string(stored.block_device ? "a block device" : "a file") +
                ", and this one is not",
            false};
  }
  if (stored.block_device) {
    if (stored.path == current.path || same_device(stored.path, current.path)) return {"", false};
    return {"it was made for the device " + printable(stored.path) + ", and this one is " +
                printable(current.path) + " with the same bytes wherever they were compared",
            false};
  }
  if (!same_time(stored.mtime, current.mtime)) {
    return {"the source was written to since (it was last changed on " + time_text(current.mtime) +
                ", and on " + time_text(stored.mtime) +
                " when it was covered), though its bytes agree wherever they were compared",
            false};
  }
  return {"", false};
}

}  // namespace peelfs::overlay
