// The scanner peels sources until nothing new appears, and publishes what it found as a tree.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "host/source.h"
#include "peelfs/cancel.h"
#include "peelfs/filesystem.h"
#include "peelfs/keys.h"
#include "peelfs/layer.h"

namespace peelfs {

/// One device of a tree. Never changes once published. Text is raw, as on the disks.
struct Node {
  std::uint64_t id = 0;  ///< the same device keeps its id in later trees of the same scanner
  std::string kind;      ///< TYPE: "disk", "part", "lvm", "crypt", "snapshot", "file"
  std::string name;      ///< the name that its layer proposes; the catalogue makes it unique
  std::string stem, tail;
  std::vector<std::string> path;  ///< components below the parent in by-path
  DevicePtr device;
  /// The filesystem on the device, see Opened; null: none, or none that is known from within.
  std::shared_ptr<const Filesystem> filesystem;
  Identity identity;
  std::string layer;   ///< the row of the table that claimed what is in it; empty: none
  std::string format;  ///< that layer's name for it: "LVM2_member", "qcow2", "gpt"; empty: none
  std::string partuuid, partlabel, parttype;
  std::optional<std::uint64_t> offset;  ///< see Inner
  std::vector<Property> properties;     ///< see Inner
  std::string source_path;              ///< of a source (also when it was unpacked from one)
  std::string holder;                   ///< of a source: see Source::holder
  std::vector<Part> parts;              ///< see Inner
  /// The disk whose bytes it holds as a part (see Inner::parts), as that is called; empty: it is a
  /// disk of its own. It is not looked into.
  std::string part_of;
  /// As its layer's probe had it, or its group's opening.
  std::optional<Membership> membership;
  bool stale = false;  ///< it missed changes of its group, see MemberReport
  std::optional<Trouble> trouble;
  bool component = false;  ///< a part of another device, shown but not looked into
  bool hidden = false;     ///< a source's container whose disk took its place: not a device file
  unsigned image_depth = 0;
  /// The same number for all members of a group (a VG's PVs), which is opened as a whole: what lies
  /// on any of them is made anew when one is looked at again. 0: no member of any.
  std::uint64_t group = 0;
  /// The same for those of them that were opened together: a VG's clones are instances of their
  /// own. 0: no member of any.
  std::uint64_t instance = 0;
  bool group_incomplete = false;        ///< what is found later may join that group
  std::vector<std::uint64_t> parents;   ///< ids; empty for a source
  std::vector<std::uint64_t> children;  ///< ids, in the order in which the layer gave them
};

/// A tree as it was at one moment. Immutable, so safe from any thread.
struct Tree {
  std::map<std::uint64_t, std::shared_ptr<const Node>> nodes;
  std::vector<std::uint64_t> roots;  ///< the sources, in the order in which they were named
  const Node& at(std::uint64_t id) const { return *nodes.at(id); }
};

/// Not thread-safe but for tree(); the caller serialises the rest.
class Scanner {
 public:
  /// @param formats the table of layers; must outlive the scanner
  /// @param directives have passed Formats::check(); at most one for each name
  /// @param cancel ends all scanning; null: nothing does
  Scanner(const Formats& formats, Limits limits, std::shared_ptr<const KeyRing> keys,
          std::vector<Directive> directives, std::shared_ptr<const Cancel> cancel = nullptr);
  ~Scanner();

  /// Adds a source; it is looked at by the next settle().
  void add(const Source& source);

  /// Told of what is known so far, by the thread that settles. Names in it are those that layers
  /// propose, and a device may turn out to be a part of another one that is found later.
  using Observer = std::function<void(const std::shared_ptr<const Tree>&)>;
  /// @param observer called by settle() and what settles, after each round of devices; what it
  ///   throws ends the settling. Null: nothing is called
  void observe(Observer observer);

  /// Peels until nothing new appears. Failures end up in the nodes; only std::bad_alloc leaves, and
  /// what the observer throws.
  /// When the run is cancelled, what was not looked into has a trouble that says so, and is not
  /// looked at any more.
  void settle();

  /// How many devices were not looked into because the run was cancelled.
  std::size_t cancelled() const;

  /// Looks at a locked device again, with these keys, and settles with those of the ring. What a
  /// group gains by it (a VG's missing PV) replaces what it showed before.
  /// @return whether it is open now; its reason is in the new tree if not
  bool retry(std::uint64_t id, const KeyRing& keys);

  /// Looks again at devices whose bytes have changed: what they are, and what lies on them, which
  /// is made anew. The devices themselves stay, but for those, anywhere in the tree, that have
  /// grown since. Ids that are not in the tree are passed over.
  void repeel(const std::vector<std::uint64_t>& ids);

  std::shared_ptr<const Tree> tree() const;

  /// What was left out because the run's budget ended, for people; see Budget::endings().
  std::vector<std::string> endings() const;

  /// A person gives a key by hand: what was spent on keys so far does not count.
  void renew_key_time();

  /// Opens a device as an unused directive says: by a name that was not known before all were
  /// there.
  void direct(std::uint64_t id, const Directive& directive);

  /// Directives whose name no device had.
  std::vector<Directive> unused_directives() const;

  /// Why devices could not be opened as directives say, one sentence for each of those.
  std::vector<std::string> refused_directives() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace peelfs
