// Many power cuts in one recorded run, each looked at by qemu and by peelfs.
#pragma once

#include <string>
#include <vector>

#include "writing/cut/promises.h"
#include "writing/cut/replay.h"
#include "writing/qcow2_stack.h"

namespace peelfs::test {

/// What there was before a run was recorded.
struct Recorded {
  Base base;
  Buffer begin;  ///< the disk's bytes
};

/// The environment of a process that is to be recorded, as the beginning of a shell command.
/// @param directory whose files; log an empty file
std::string recording(const std::string& recorder, const std::string& directory,
                      const std::string& log);

struct Exploration {
  Qcow2Options image;  ///< what disk.qcow2 in the directory is
  std::string folder;  ///< where states are made
  std::uint64_t seed = 1;
  std::size_t points = 100;
};

/// Takes `points` moments of the log, and for each a state that a power cut might leave. It must
/// open, `qemu-img check` must find nothing but leaks, and the promises must be kept; now and then
/// it is written to, and checked again.
/// @return what was wrong
std::vector<std::string> explore(const Exploration& exploration, const Recorded& recorded,
                                 const Log& log);

}  // namespace peelfs::test
