// The header of a qcow2 image, checked: what is in a Header may be computed with.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/error.h"
#include "qcow2/qcow2_disk.h"

namespace peelfs::qcow2 {

/// A table of 64-bit entries in the image file.
struct TableLocation {
  std::uint64_t offset = 0;  ///< bytes; a multiple of the cluster size
  std::uint32_t entries = 0;
  std::uint64_t end() const noexcept { return offset + std::uint64_t{entries} * 8; }
};

/// Bytes of the image file that hold metadata, so that no guest data can lie there.
struct MetadataRange {
  std::string what;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  ///< behind the last byte
};

/// Immutable once read. All offsets are bytes in the image file.
struct Header {
  DiskHeader disk;
  std::string backing_file;    ///< empty: there is none
  std::string backing_format;  ///< empty: not stored
  std::string data_file;  ///< the name that the image stores; may be empty although it needs one
  struct CryptHeader {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  std::optional<CryptHeader> crypt;
  std::vector<MetadataRange> metadata;
  /// Notes for a person. They do not keep the image from being read.
  std::vector<std::string> notes;

  std::uint64_t size() const noexcept { return disk.size; }
  std::uint32_t cluster_bits() const noexcept { return disk.cluster_bits; }
  std::uint64_t cluster_size() const noexcept { return 1ULL << disk.cluster_bits; }
  bool has_data_file() const noexcept {
    return (disk.incompatible_features & kIncompatibleDataFile) != 0;
  }
  bool extended_l2() const noexcept {
    return (disk.incompatible_features & kIncompatibleExtendedL2) != 0;
  }
  /// log2 of the bytes in an L2 entry.
  std::uint32_t l2_entry_bits() const noexcept { return extended_l2() ? 4 : 3; }
  /// log2 of the bytes of guest disk that one L2 table describes; at most 39.
  std::uint32_t l2_reach_bits() const noexcept { return 2 * disk.cluster_bits - l2_entry_bits(); }
  TableLocation l1() const noexcept { return {disk.l1_table_offset, disk.l1_size}; }
};

/// qemu's limits, which we share: they bound what an image can make us read.
inline constexpr std::uint32_t kMinClusterBits = 9;
inline constexpr std::uint32_t kMaxClusterBits = 21;
inline constexpr std::uint64_t kMaxL1Bytes = 32ULL << 20U;

/// Reads and checks the header with its extensions. Memory: one cluster, so at most 2 MiB.
/// @throws Error: damaged, naming the field, or unsupported: another version, an unknown
///   incompatible feature (by the name that the image's feature name table gives it)
Header read_header(const BlockDevice& file);

/// Checks the place of an L1 table (of the active disk or a snapshot).
/// @param whose "active" or "snapshot NAME", for the message
/// @return what makes the whole table unusable; nullopt: nothing. Whether it is long enough is the
///   caller's to check.
std::optional<Error> check_l1(const Header& header, const TableLocation& l1,
                              std::uint64_t file_size, const std::string& whose);

/// How many L1 entries a disk of `size` bytes needs.
std::uint64_t l1_entries_needed(const Header& header, std::uint64_t size);

}  // namespace peelfs::qcow2
