// The directory of internal snapshots.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/error.h"
#include "qcow2/header.h"

namespace peelfs::qcow2 {

struct Snapshot {
  std::string id;          ///< raw, as on the disk
  std::string name;        ///< raw; may be empty
  TableLocation l1;        ///< not checked yet: check_l1()
  std::uint64_t size = 0;  ///< of its disk, bytes
  /// Whether the entry says its size; else (old images) it is the image's present one.
  bool has_size = false;
  std::uint32_t date_seconds = 0;      ///< since 1970
  std::uint32_t date_nanoseconds = 0;  ///< behind those
  std::uint64_t vm_state_size = 0;     ///< bytes; 0: only of the disk
  /// Where its entry stands, in bytes from the start of the table, with what pads it.
  std::uint64_t entry_at = 0;
  std::uint64_t entry_length = 0;
};

struct SnapshotTable {
  std::vector<Snapshot> snapshots;
  std::uint64_t bytes = 0;  ///< of the entries, with what pads them
  /// Why there are fewer than the header says.
  std::optional<Error> damage;
};

/// qemu's limits.
inline constexpr std::uint32_t kMaxSnapshots = 65536;
inline constexpr std::uint64_t kMaxSnapshotTable = 64ULL << 20U;

/// Reads the table as far as it makes sense: what is wrong behind does not take away what is
/// before.
SnapshotTable read_snapshots(const BlockDevice& file, const Header& header);

}  // namespace peelfs::qcow2
