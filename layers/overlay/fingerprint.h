// How an overlay knows its source again. README.md beside this file documents what is stored.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "host/source.h"
#include "overlay/base.h"
#include "peelfs/block_device.h"

namespace peelfs::overlay {

/// Type of the header extension that holds it: "PLFp".
inline constexpr std::uint32_t kFingerprintExtension = 0x504c4670;

struct Sample {
  std::uint64_t offset = 0;  ///< bytes, in the covered disk
  std::uint64_t length = 0;
  std::string sha256;  ///< lower-case hexadecimal
  /// "its first MiB", "64 KiB at offset 123456"
  std::string describe() const;
};

/// A file of the host, besides the source, that bytes of the covered disk come from.
struct PartNote {
  std::string role;  ///< "data-file", "backing-file"
  std::string path;
  std::uint64_t size = 0;  ///< bytes
  timespec mtime{};        ///< of a regular file
};

struct Fingerprint {
  std::string path;
  std::string format;
  std::uint64_t size = 0;
  bool block_device = false;
  timespec mtime{};
  std::vector<Sample> samples;
  /// In the order of the chain. An overlay of an older peelfs does not say: nullopt.
  std::optional<std::vector<PartNote>> parts;
  /// Where the tables and super blocks of what lies on the disk are; see tables.h.
  std::vector<Sample> tables;
};

/// Reads the samples: some 6 MiB, without those of tables.
/// @param base what the overlay covers
Fingerprint take_fingerprint(const Source& source, const Base& base);

/// The same without samples.
Fingerprint describe_source(const Source& source, const Base& base);

/// Reads one. @param offset bytes; the range lies within the disk
Sample take_sample(const BlockDevice& disk, std::uint64_t offset, std::uint64_t length);

Buffer encode(const Fingerprint& fingerprint);
/// @throws Error(Fault::damaged)
Fingerprint decode_fingerprint(Bytes text);

/// What speaks against it that a source is the one an overlay was made for.
struct Difference {
  std::string what;     ///< empty: nothing does
  bool certain = true;  ///< false: it may be the same all the same, only the person can know
};
Difference compare(const Fingerprint& stored, const Fingerprint& current);

/// The path with which a source can be found from every directory; links in it stay.
std::string absolute_path(const std::string& path);

}  // namespace peelfs::overlay
