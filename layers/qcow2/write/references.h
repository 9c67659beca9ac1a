// What an L1 table refers to, one reference after the other: for counting.
#pragma once

#include <cstdint>
#include <functional>

#include "peelfs/block_device.h"
#include "qcow2/header.h"

namespace peelfs::qcow2 {

struct Reference {
  enum class Kind : std::uint8_t { l2_table, data, compressed };
  Kind kind = Kind::data;
  std::uint64_t offset = 0;  ///< bytes, in the image file
  std::uint64_t length = 0;
  bool copied = false;         ///< the entry says that it is the only one
  std::uint64_t entry_at = 0;  ///< bytes, in the image file: where the entry stands
};

/// Calls `each` for every L2 table, cluster and compressed cluster, an L2 table before what it
/// refers to. Clusters of an external data file are left out. One L2 table is in memory at a time.
/// @throws Error(Fault::damaged) for an entry that points outside of the file or between clusters
void for_each_reference(const BlockDevice& file, const Header& header, const TableLocation& l1,
                        std::uint64_t end, const std::function<void(const Reference&)>& each);

}  // namespace peelfs::qcow2
