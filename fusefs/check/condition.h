// What a filesystem's superblock says of its own upkeep: what fsck(8) would go by at boot.
#pragma once

#include <chrono>
#include <string>

#include "peelfs/block_device.h"
#include "peelfs/layer.h"

namespace peelfs::check {

struct Condition {
  /// Its journal holds changes that must be replayed before anything else is true of it.
  bool needs_replay = false;
  /// Whether filesystems of this kind say when a check is due.
  bool tells = false;
  /// Why a check is due, a clause: "it was not unmounted", "mounted 30 times since the last check,
  /// which is due after 20"; empty: none is, or its kind does not say.
  std::string due;
};

/// Reads a few hundred bytes. Nothing is verified. What cannot be read says nothing.
/// @param fstype as libblkid names it
/// @param now what the time is, for checks that are due after some days
Condition condition_of(const std::string& fstype, const BlockDevice& device,
                       std::chrono::system_clock::time_point now);

/// Looks for what is left of a filesystem on a device on which nothing is known: a backup of the
/// superblock of ext2, ext3 or ext4. @return what was found, a clause; empty: nothing
std::string lost_filesystem(const BlockDevice& device);

}  // namespace peelfs::check
