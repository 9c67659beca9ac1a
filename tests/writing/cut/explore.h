// Many power cuts in one recorded run, each looked at by qemu and by peelfs.
#pragma once

#include <functional>
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

/// What the recorded files are, and what is done with them after a power cut.
struct Subject {
  std::string name;
  std::function<void(const std::string& folder)> make;
  std::function<Disk(const std::string& folder)> disk;
  /// Shell commands, run in the folder: the first repairs before the disk is looked at (e2fsck),
  /// the second copies it to where other programs look (debugfs). Both must exit 0. The second also
  /// after peelfs has written and ended.
  std::string recover = {}, copy_out = {};
  /// The same in the directory where it is mounted for writing.
  std::string in_mount = {};
  /// The disk can be written to as it was left.
  bool goes_on = true;
};
inline void PrintTo(const Subject& subject, std::ostream* out) {
  *out << subject.name;
}
/// disk.qcow2 in the folder.
Subject qcow2_subject(const std::string& name, const Qcow2Options& options);

/// Looks at one state. @return "" or what is wrong
using Look = std::function<std::string(const Files& files, const Promises& promises)>;

/// It must open, `qemu-img check` must find nothing but leaks, and the promises must be kept; now
/// and then it is written to, and checked again.
Look look_at_disk(const Subject& subject, const std::string& folder, std::uint64_t seed);

struct Exploration {
  std::function<Look(unsigned worker)> look;  ///< one for each thread
  std::uint64_t seed = 1;
  std::size_t points = 100;
  std::size_t beginning = 0;  ///< and each of the first entries
  /// 1 where this process locks images as the program does: a program that the other thread is just
  /// starting would have the lock, too.
  unsigned workers = 2;
};

/// Takes `points` moments of the log, and looks for each at a state that a power cut might leave.
/// @return what was wrong
std::vector<std::string> explore(const Exploration& exploration, const Recorded& recorded,
                                 const Log& log);

}  // namespace peelfs::test
