// A process that mounts the sources of one unit, for the commands that check what is in them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "mount/process.h"
#include "peel/peeling.h"
#include "world/world.h"

namespace peelfs::check {

/// A device that is checked there.
struct HostDevice {
  std::string place;  ///< see place_of()
  // What was found there before. Where it is another now there is nothing to check.
  std::uint64_t size = 0;
  std::string fstype, uuid;
  std::size_t others = 0;  ///< devices of the same filesystem, besides
  bool alone = false;      ///< see jobs::Relatives
  bool written = false;    ///< a command opens it for writing
  /// Its filesystem may be of another kind since, as long as the same program checks that, and
  /// have another UUID.
  bool after_repair = false;
};

/// What a unit's process is to mount.
struct HostOrder {
  PeelRequest request;
  std::shared_ptr<KeyRing> keys;
  std::string fsname;  ///< see MountOptions
  std::vector<HostDevice> devices;
  /// A directory of overlays that goes when the process that asks for this is killed; empty: none.
  std::string worthless_overlays;
  bool background = false;  ///< it yields the processors and the disks to all others
};

/// A device as that mount has it.
struct MountedDevice {
  std::string name;                            ///< empty: see `why`
  std::string why;                             ///< why it cannot be checked
  std::vector<world::ListedDevice> relatives;  ///< see jobs::listed_with()
};

/// What the process has said.
struct HostReport {
  std::string failure;   ///< why nothing is mounted; empty: it is mounted
  bool is_busy = false;  ///< because a source is in use now
  std::string mountpoint;
  std::string world;                   ///< an empty directory, see world::Plan
  std::vector<MountedDevice> devices;  ///< in the order of HostOrder::devices
};

/// Not thread-safe, but the processes are independent of one another.
class UnitHost {
 public:
  /// Starts it. To be called by a process with one thread.
  /// @param others descriptors of this process that the new one must not keep @throws Error
  UnitHost(const HostOrder& order, const std::vector<int>& others);
  /// Does not wait for it: see end().
  ~UnitHost();
  UnitHost(const UnitHost&) = delete;
  UnitHost& operator=(const UnitHost&) = delete;

  /// What a device of the mount could not read or write since it was mounted, a clause; empty:
  /// nothing. @param names of devices in the mount
  std::string failure_of(const std::set<std::string>& names) const;

  /// Becomes readable when there is a report, and when the mount has ended.
  int control() const noexcept { return control_.get(); }
  /// The report; waits for it. To be called once.
  HostReport report();
  /// Tells it to end the mount; overlays stay. Those that are worthless go if this process ends, or
  /// this object, before. @param now also while it is still being made
  void end(bool now) noexcept;
  /// Waits until the mount is gone. @return why it could not be ended; empty: it is
  std::string wait();

 private:
  UniqueFd control_;
  UniqueFd failures_;  ///< see note_failures_in()
  pid_t process_ = -1;
  bool reported_ = false;
  const std::size_t devices_;
};

}  // namespace peelfs::check
