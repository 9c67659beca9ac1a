#include "qcow2/header.h"

#include <algorithm>
#include <bit>
#include <map>

#include "peelfs/figure.h"
#include "peelfs/io.h"

namespace peelfs::qcow2 {

namespace {

constexpr std::uint64_t kMaxRefcountTableBytes = 8ULL << 20U;
constexpr std::uint32_t kMaxBackingName = 1023;

std::string bytes_at(std::uint64_t length, std::uint64_t offset) {
  return figure(length) + " bytes at offset " + hex_figure(offset);
}

Error damaged(std::string what) {
  return {Fault::damaged, "qcow2 header: " + std::move(what)};
}

void check_basics(const DiskHeader& disk) {
  if (disk.version < 2 || disk.version > 3) {
    throw Error(Fault::unsupported, "qcow version " + std::to_string(disk.version))
        .found("version " + std::to_string(disk.version) + " in the header")
        .expected("2 or 3")
        .advice(disk.version == 1 ? "convert the image: qemu-img convert -f qcow -O qcow2 OLD NEW"
                                  : "a newer release of peelfs or qemu may know it");
  }
  if (disk.cluster_bits < kMinClusterBits || disk.cluster_bits > kMaxClusterBits) {
    throw damaged("cluster_bits is out of range")
        .found(std::to_string(disk.cluster_bits))
        .expected("9 to 21, clusters of 512 bytes to 2 MiB");
  }
  const std::uint64_t cluster_size = 1ULL << disk.cluster_bits;
  if (disk.version >= 3 && (disk.header_length < DiskHeader::kVersion3Length ||
                            disk.header_length > cluster_size || disk.header_length % 8 != 0)) {
    throw damaged("header_length is wrong")
        .found(count_figure(disk.header_length, cluster_size))
        .expected("a multiple of 8 from 104 to the cluster size, " + std::to_string(cluster_size));
  }
  if (disk.refcount_order > 6) {
    throw damaged("refcount_order is out of range")
        .found(std::to_string(disk.refcount_order))
        .expected("0 to 6");
  }
}

/// What the header extension area says. An area that contradicts itself is kept as far as it goes,
/// because an unknown incompatible feature, which is the better reason, may be why.
struct Extensions {
  std::optional<std::string> backing_format;
  std::optional<std::string> data_file;
  std::optional<Header::CryptHeader> crypt;
  std::map<unsigned, std::string> incompatible_names;  ///< by bit
  std::optional<Error> problem;
};

void read_feature_names(const ByteReader& data, Extensions& extensions) {
  for (std::size_t at = 0; data.size() - at >= kFeatureNameEntrySize; at += kFeatureNameEntrySize) {
    if (data.u8(at) == 0) {
      extensions.incompatible_names[data.u8(at + 1)] = data.text(at + 2, kFeatureNameEntrySize - 2);
    }
  }
}

/// @return false when the type was there before
bool read_extension(std::uint32_t type, Bytes bytes, Extensions& extensions) {
  const ByteReader data(bytes, "qcow2 header extension " + hex(type));
  switch (type) {
    case kExtensionBackingFormat:
      if (extensions.backing_format) return false;
      extensions.backing_format = data.text(0, data.size());
      return true;
    case kExtensionDataFile:
      if (extensions.data_file) return false;
      extensions.data_file = data.text(0, data.size());
      return true;
    case kExtensionFullDiskEncryption:
      if (extensions.crypt) return false;
      extensions.crypt = {data.be64(0), data.be64(8)};
      return true;
    case kExtensionFeatureNames:
      read_feature_names(data, extensions);
      return true;
    default:
      return true;
  }
}

/// @param cluster the first cluster, or as much of it as the file has
Extensions read_extensions(const DiskHeader& disk, Bytes cluster) {
  const ByteReader reader(cluster, "qcow2 header extensions");
  // A backing file name may follow the header without any extension between (old images of version
  // 2).
  const std::uint64_t end = disk.backing_file_offset != 0
                                ? std::min<std::uint64_t>(disk.backing_file_offset, cluster.size())
                                : cluster.size();
  Extensions extensions;
  std::uint64_t at = disk.header_length;
  while (at + 8 <= end) {
    const std::uint32_t type = reader.be32(at);
    const std::uint32_t length = reader.be32(at + 4);
    if (type == kExtensionEnd) break;
    at += 8;
    if (length > end - at) {
      extensions.problem = damaged("extension " + hex(type) + " leaves the extension area")
                               .found(bytes_at(length, at))
                               .expected("an end at or before offset " + hex(end));
      break;
    }
    // The two-number extension is the only one that has a size of its own.
    const bool fits = type != kExtensionFullDiskEncryption || length >= 16;
    if (!fits || !read_extension(type, reader.bytes(at, length), extensions)) {
      extensions.problem =
          damaged("extension " + hex(type) + (fits ? " appears twice" : " is too short"))
              .found(bytes_at(length, at))
              .expected(fits ? "each extension at most once" : "16 bytes");
      break;
    }
    at = round_up(at + length, 8);
  }
  return extensions;
}

void refuse_unknown_features(const DiskHeader& disk, const Extensions& extensions) {
  std::uint64_t unknown = disk.incompatible_features & ~kIncompatibleKnown;
  if (unknown == 0) return;
  std::string list;
  while (unknown != 0) {
    const auto bit = static_cast<unsigned>(std::countr_zero(unknown));
    unknown &= unknown - 1;
    const auto name = extensions.incompatible_names.find(bit);
    if (!list.empty()) list += ", ";
    list += name != extensions.incompatible_names.end() && !name->second.empty()
                ? "'" + name->second + "' (bit " + std::to_string(bit) + ")"
                : "bit " + std::to_string(bit);
  }
  throw Error(Fault::unsupported, "qcow2 image with features that peelfs does not know: " + list)
      .found("incompatible_features " + hex(disk.incompatible_features))
      .expected("no bits beyond " + hex(kIncompatibleKnown))
      .advice(
          "a newer release of peelfs or qemu may know them; reading without would be guesswork");
}

void check_compression(const DiskHeader& disk) {
  const bool bit = (disk.incompatible_features & kIncompatibleCompressionType) != 0;
  if (bit != (disk.compression_type != kCompressionDeflate)) {
    throw damaged("compression_type contradicts the compression type feature bit")
        .found("compression_type " + std::to_string(disk.compression_type) + " with the bit " +
               (bit ? "set" : "clear"))
        .expected(bit ? "a compression_type that is not 0" : "compression_type 0");
  }
  if (disk.compression_type > kCompressionZstd) {
    throw Error(Fault::unsupported,
                "qcow2 compression type " + std::to_string(disk.compression_type))
        .expected("0 (zlib) or 1 (zstd)");
  }
}

void check_features(const DiskHeader& disk, const Extensions& extensions) {
  refuse_unknown_features(disk, extensions);
  if (extensions.problem) throw Error(*extensions.problem);
  check_compression(disk);
  const bool extended = (disk.incompatible_features & kIncompatibleExtendedL2) != 0;
  if (extended && disk.cluster_bits < 14) {
    throw damaged("extended L2 entries with clusters that are too small")
        .found("cluster_bits " + std::to_string(disk.cluster_bits))
        .expected("14 or more");
  }
  if (disk.crypt_method > kCryptLuks) {
    throw Error(Fault::unsupported, "qcow2 crypt_method " + std::to_string(disk.crypt_method))
        .expected("0 (none), 1 (AES) or 2 (LUKS)");
  }
}

std::string read_backing_name(const DiskHeader& disk, Bytes cluster) {
  if (disk.backing_file_offset == 0 || disk.backing_file_size == 0) return "";
  if (disk.backing_file_offset < disk.header_length || disk.backing_file_offset > cluster.size() ||
      disk.backing_file_size > kMaxBackingName ||
      disk.backing_file_size > cluster.size() - disk.backing_file_offset) {
    throw damaged("the backing file name lies outside of the first cluster")
        .found(bytes_at(disk.backing_file_size, disk.backing_file_offset))
        .expected("at most 1023 bytes between offset " + std::to_string(disk.header_length) +
                  " and " + std::to_string(cluster.size()));
  }
  return ByteReader(cluster, "qcow2 backing file name")
      .text(disk.backing_file_offset, disk.backing_file_size);
}

void check_crypt(const Header& header, std::uint64_t file_size) {
  if (header.disk.crypt_method != kCryptLuks) return;
  if (!header.crypt) {
    throw damaged("LUKS encryption without the full disk encryption header extension")
        .expected("extension " + hex(kExtensionFullDiskEncryption));
  }
  const Header::CryptHeader& crypt = *header.crypt;
  if (crypt.offset % header.cluster_size() != 0 || crypt.offset < header.cluster_size() ||
      crypt.offset >= file_size || crypt.length == 0 || crypt.length > file_size - crypt.offset) {
    throw damaged("the LUKS header's place is wrong")
        .found(bytes_at(crypt.length, crypt.offset))
        .expected("a range that begins on a cluster, behind the first, in a file of " +
                  std::to_string(file_size) + " bytes");
  }
}

/// Reading never needs reference counts: a wrong place of their table is only worth saying.
void note_refcount_table(Header& header, std::uint64_t file_size) {
  const std::uint64_t begin = header.disk.refcount_table_offset;
  const std::uint64_t length = std::uint64_t{header.disk.refcount_table_clusters}
                               << header.cluster_bits();
  if (begin % header.cluster_size() == 0 && begin >= header.cluster_size() && length != 0 &&
      length <= std::max(kMaxRefcountTableBytes, header.cluster_size()) && begin < file_size) {
    header.metadata.push_back({"the refcount table", begin, begin + length});
    return;
  }
  header.notes.push_back("the refcount table's place is wrong (" + bytes_at(length, begin) +
                         "); reading does not need it, qemu-img check repairs it");
}

void note_flags(Header& header) {
  if ((header.disk.incompatible_features & kIncompatibleCorrupt) != 0) {
    header.notes.emplace_back(
        "the image is marked corrupt: somebody found contradictions in its tables; "
        "qemu-img check shows them");
  }
  if ((header.disk.incompatible_features & kIncompatibleDirty) != 0) {
    header.notes.emplace_back(
        "the image is marked dirty: it was not closed cleanly, or is in use; its reference counts "
        "may be wrong, which reading does not need");
  }
}

}  // namespace

std::uint64_t l1_entries_needed(const Header& header, std::uint64_t size) {
  return div_round_up(size, 1ULL << header.l2_reach_bits());
}

std::optional<Error> check_l1(const Header& header, const TableLocation& l1,
                              std::uint64_t file_size, const std::string& whose) {
  if (l1.entries == 0) return std::nullopt;
  const std::string table = "the " + whose + " L1 table";
  if (std::uint64_t{l1.entries} * 8 > kMaxL1Bytes) {
    return Error(Fault::damaged, table + " is too large")
        .found(count_figure(l1.entries, kMaxL1Bytes / 8) + " entries")
        .expected("at most " + std::to_string(kMaxL1Bytes / 8) + " (32 MiB), as in qemu");
  }
  if (l1.offset % header.cluster_size() != 0 || l1.offset < header.cluster_size() ||
      l1.offset >= file_size) {
    return Error(Fault::damaged, table + "'s place is wrong")
        .found(bytes_at(std::uint64_t{l1.entries} * 8, l1.offset))
        .expected("a multiple of the cluster size " + std::to_string(header.cluster_size()) +
                  ", behind the header, in a file of " + std::to_string(file_size) + " bytes")
        .advice("the image may be truncated: compare its size with the original's");
  }
  return std::nullopt;
}

Header read_header(const BlockDevice& file) {
  Header header;
  {
    const Buffer start = read_up_to(file, 0, 112);
    if (!ByteReader(start, "qcow2 header").has(0, kMagic)) throw damaged("no magic number");
    header.disk = decode_header(start);
  }
  const DiskHeader& disk = header.disk;
  check_basics(disk);
  const Buffer cluster = read_up_to(file, 0, header.cluster_size());
  const Extensions extensions = read_extensions(disk, cluster);
  check_features(disk, extensions);
  header.backing_file = read_backing_name(disk, cluster);
  header.backing_format = extensions.backing_format.value_or("");
  header.data_file = extensions.data_file.value_or("");
  header.crypt = extensions.crypt;
  check_crypt(header, file.size());

  if (auto problem = check_l1(header, header.l1(), file.size(), "active")) {
    throw Error(*std::move(problem));
  }
  if (disk.l1_size < l1_entries_needed(header, disk.size)) {
    throw damaged("the active L1 table is too small for the disk's size")
        .found(std::to_string(disk.l1_size) + " entries")
        .expected(figure(l1_entries_needed(header, disk.size), 1ULL << header.l2_reach_bits()) +
                  " for " + figure(disk.size) + " bytes");
  }

  header.metadata.push_back({"the header", 0, header.cluster_size()});
  if (disk.l1_size != 0) {
    header.metadata.push_back({"the active L1 table", header.l1().offset, header.l1().end()});
  }
  if (disk.crypt_method == kCryptLuks) {
    header.metadata.push_back(
        {"the LUKS header", header.crypt->offset, header.crypt->offset + header.crypt->length});
  }
  note_refcount_table(header, file.size());
  note_flags(header);
  return header;
}

}  // namespace peelfs::qcow2
