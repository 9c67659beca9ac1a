// What an overlay changes, device by device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "overlay/compare.h"
#include "peel/job.h"
#include "peel/layout.h"
#include "peel/peeling.h"
#include "peelfs/byte_range.h"

namespace peelfs {

struct DeviceChange {
  enum class Fate { both, appeared, vanished };
  std::string name;  ///< flat
  std::string kind;
  std::uint64_t size = 0;
  std::uint64_t old_size = 0;  ///< without the overlays; the same where `fate` is not both
  unsigned depth = 0;          ///< how many devices of the list it lies below
  Fate fate = Fate::both;
  Moved moved;  ///< of partitions and logical volumes
  /// What lies in it can be compared only with a key that was not given.
  bool needs_key = false;
  overlay::Comparison comparison;  ///< empty unless `fate` is both
  /// What the changed bytes are, where the filesystem can be asked; in order.
  std::vector<NamedRange> named;
  std::string remark;  ///< why it could not be asked, or compared

  bool interesting() const {
    return fate != Fate::both || size != old_size || moved.bytes != 0 || needs_key ||
           comparison.changed != 0 || comparison.unreadable != 0;
  }
};

/// Compares every device, or only one, with what it is without the overlays.
/// @param only flat name; empty: all
/// @param progress is told of each device; what it throws ends the comparison. May be empty
/// @throws Error(Fault::locked) when `only` lies in something that is locked without the overlays
std::vector<DeviceChange> find_changes(const Peeling& before, const Peeling& after,
                                       const std::string& only, const JobProgress& progress);

}  // namespace peelfs
