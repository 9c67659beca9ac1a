// What can be wrong with the entries of L1 and L2 tables, and how it is told.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "peelfs/error.h"
#include "qcow2/header.h"

namespace peelfs::qcow2 {

enum class Defect : std::uint8_t {
  none,
  l1_too_short,
  l1_truncated,
  l1_reserved,
  l2_unaligned,
  l2_outside,
  l2_on_metadata,
  l2_truncated,
  l2_reserved,
  zero_in_version_2,
  unaligned,
  copied_without_offset,
  data_file_mismatch,
  outside,
  on_metadata,
  compressed_in_data_file,
  compressed_reserved,
  compressed_outside,
  subcluster_conflict,
  subcluster_without_cluster,
};

/// Where a defect was met: what the message tells.
struct DefectPlace {
  std::uint64_t offset = 0;  ///< in the guest
  TableLocation l1;
  L1Entry l1_entry;
  L2Entry entry;
  std::uint64_t bitmap = 0;  ///< of an extended entry
  std::uint64_t file_size = 0;
  std::uint64_t data_size = 0;
  /// Which metadata lies in a range of the image file.
  std::function<std::string(std::uint64_t begin, std::uint64_t end)> metadata;
};

/// Says what was found and what was expected. @param defect not Defect::none
Error defect_error(Defect defect, const DefectPlace& place, const Header& header);

}  // namespace peelfs::qcow2
