// What is to be checked in the sources of a run, and which sources must be mounted together for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "check/checkers.h"
#include "check/condition.h"
#include "jobs/relatives.h"
#include "peel/peeling.h"

namespace peelfs::check {

/// A filesystem, or what stands in the place of one: a device that could not be looked into.
struct Target {
  std::string device;  ///< its flat name in the whole run
  std::string uuid;    ///< raw
  std::string place;   ///< see place_of()
  std::string fstype;  ///< as libblkid names it, or the format; raw
  std::string label;   ///< raw
  std::uint64_t size = 0;
  std::vector<std::string> sources;  ///< paths as the person wrote them
  /// Names of the other devices of the same filesystem.
  std::vector<std::string> others;
  /// What else there is to say of it, one clause each.
  std::vector<std::string> remarks;
  const Checker* checker = nullptr;  ///< null: it is not checked, and `verdict` says why
  std::string program;               ///< the checker's path
  Condition condition;
  bool alone = false;  ///< see jobs::Relatives
  bool busy = false;   ///< skipped because a program writes one of its sources
  unsigned depth = 0;  ///< how many devices it lies within: outer ones are replayed first
  /// Other targets that it lies within: indices into Plan::targets, ascending.
  std::vector<std::size_t> within;
  /// A device that it lies within, with a filesystem that is no target; empty: there is none.
  std::string unchecked_outside;
  bool in_snapshot = false;  ///< of an image: nothing can be written there
  /// Another source whose image takes bytes from one of this target's: to write this would change
  /// that one. Empty: there is none.
  std::string relied_on_by;
  /// It was not asked for, and is checked for the sake of what lies within it.
  bool only_outside = false;
  Verdict verdict;           ///< of one that is not checked
  std::uint64_t memory = 0;  ///< bytes that the check may take

  /// Whether its journal is replayed before it is checked.
  bool is_replayed() const {
    return checker != nullptr && condition.needs_replay && !checker->replay.empty();
  }
  /// Whether its check opens a device of it for writing, though it changes nothing. e2fsck does so
  /// with an external journal.
  bool opens_for_writing() const {
    return checker != nullptr &&
           (checker->opens_for_writing || (checker->program == "e2fsck" && !others.empty()));
  }
  /// Whether a command opens it for writing: it needs an overlay.
  bool is_written() const { return is_replayed() || opens_for_writing(); }
};

/// Sources that are mounted as one: the disks of a volume group, of a btrfs filesystem.
struct Unit {
  std::vector<std::size_t> sources;  ///< indices into Peeling::sources()
  std::vector<std::size_t> targets;  ///< indices into Plan::targets, in their order
  bool needs_overlay = false;        ///< one of them is written
  /// Paths of files that images of these sources take bytes from, besides.
  std::vector<std::string> references;
};

struct Plan {
  std::vector<Target> targets;  ///< in the order of the tree
  std::vector<Unit> units;      ///< those with anything to check, the heaviest first
  /// Filesystems in snapshots, which are checked only if they are named.
  std::size_t in_snapshots = 0;
};

struct PlanRequest {
  std::vector<std::string> names;  ///< devices as a person names them; empty: all
  bool only_due = false;
  /// Check the filesystems that those which are asked for lie within, too, due or not: for a
  /// repair, which writes through them.
  bool with_outside = false;
  std::chrono::system_clock::time_point now;
};

/// Bytes are missing: a checker would take that for damage, which a repair would make true.
bool cannot_be_read(Trouble::State state);

/// A device of a tree, told by the files and places that lead to it. The same sources, opened again
/// without others beside them, have the same places; names may differ.
std::string place_of(const Tree& tree, const Node& node);

/// @throws Error(Fault::usage) for a name that no device has
Plan make_plan(const Peeling& peeling, const PlanRequest& request);

}  // namespace peelfs::check
