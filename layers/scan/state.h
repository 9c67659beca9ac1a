// What the scanner knows while it works: private to layers/scan.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "peelfs/budget.h"
#include "peelfs/cancel.h"
#include "peelfs/formats.h"
#include "peelfs/layer_memory.h"
#include "peelfs/mutex.h"
#include "scan/directed.h"
#include "scan/graph.h"
#include "scan/open_call.h"
#include "scan/scanner.h"

namespace peelfs {

/// The members of one group, and what was made of them the last time.
struct Group {
  std::vector<std::uint64_t> members;
  bool dirty = true;        ///< has members that its children do not know of
  bool incomplete = false;  ///< said so when it was opened: a latecomer may complete it
  std::uint64_t number = 0;
};

/// An exception that a layer throws becomes the trouble of the device. Only an Error with
/// Fault::damaged is shown as damage: the host may fail, and so may peelfs. Running out of memory
/// ends the scan.
template <typename Function>
std::optional<Trouble> caught(Function&& function) {
  try {
    function();
    return std::nullopt;
  } catch (const Error& error) {
    return trouble_from(error);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::system_error& error) {
    return Trouble{
        Trouble::denied,
        std::string("this host refused what is needed to look into it: ") + error.what()};
  } catch (const std::exception& error) {
    return Trouble{Trouble::unsupported,
                   std::string("peelfs failed on it, please report that: ") + error.what()};
  }
}

class HeadCache;

/// A group that is about to be opened.
struct PlannedGroup {
  struct Part {
    Instance instance;
    OpenCall call;
  };
  Group* group = nullptr;
  std::vector<GroupMember> members;
  std::vector<Part> parts;
};

struct Scanner::State {
  using GroupKey = std::pair<const Layer*, std::string>;

  const Formats* formats = nullptr;
  Limits limits;
  std::shared_ptr<const KeyRing> keys;
  std::vector<Directed> directives;  ///< never resized: items point to them
  std::shared_ptr<const Cancel> cancel;
  std::set<std::uint64_t> cancelled;  ///< devices that were not looked into for that
  Graph graph;
  std::unique_ptr<Budget> budget;
  /// What layers remember while the scanner settles. It is dropped afterwards, because bytes may
  /// change until the scanner settles again.
  std::map<const Layer*, std::unique_ptr<LayerMemory>> memories;
  std::deque<std::uint64_t> queue;
  std::map<GroupKey, Group> groups;
  /// Members that do not know their group (an LVM PV without metadata), by layer.
  std::map<const Layer*, std::vector<std::uint64_t>> homeless;
  std::set<std::uint64_t> adopted;  ///< homeless ones that found their group
  std::uint64_t last_group = 0;     ///< the number that was given last
  std::uint64_t last_instance = 0;
  unsigned part_rounds = 0;                   ///< of settle_parts(), in this settling
  std::map<GroupKey, unsigned> group_rounds;  ///< how often each was opened in this settling
  std::shared_ptr<const Tree> shown;          ///< before this settling; null outside of one
  Observer observer;
  mutable Mutex publishing;
  std::shared_ptr<const Tree> tree PEELFS_GUARDED_BY(publishing) = std::make_shared<Tree>();

  void settle();
  /// Looks at devices that wait, opens what is in them, and takes up what was found.
  void settle_wave();
  void settle_all();
  /// Tells the observer what is known so far.
  void tell() const;
  /// What was found belongs to no whole picture: says so where it could be taken for one.
  void end_cancelled();

  // look.cc: a wave of devices
  /// Finds out what is on each of them, on several threads. Nothing but the items changes.
  void look_at_all(const std::vector<std::uint64_t>& wave);
  void look_at(Item& item);
  /// @return whether it could be found out what is on it; if not, it says why
  bool identified(Item& item, const HeadCache& head) const;
  /// @param images_only ask only the rows of image formats
  void probe(Item& item, const HeadCache& head, bool images_only = false) const;
  bool is_cancelled() const { return peelfs::is_cancelled(cancel.get()); }
  /// Says of it that the run was cancelled before it was looked into.
  void leave_out(Item& item);
  /// What is to be done with a device that was looked at.
  enum class Next : std::uint8_t { nothing, unpack, join, open };
  /// Takes up what was found on it. No other device changes.
  Next take_up(std::uint64_t id);
  /// Gives it the names that its layer has for what is on it.
  static void name_as_claimed(Item& item);
  /// A source that is no image format is a disk, and called as one.
  static void settle_source_name(Item& item);
  /// A raw image file in a filesystem unpacks to a disk of the same bytes, so that its partitions
  /// are named after the disk as those of every other image are.
  void unpack_raw(std::uint64_t id);

  // open_call.cc: several devices at once
  Member member_of(const Item& item) const;
  /// One that is no group. It is opened as its directive says, if that names its layer.
  OpenCall call_for(std::uint64_t id, const KeyRing& ring) const;
  OpenCall call_for(const Layer& layer, std::vector<std::uint64_t> ids, const KeyRing& ring) const;
  /// Does it, once its layer has a memory.
  void open(OpenCall& call) const;
  /// Does all of them, on several threads, but for those whose order matters.
  void open_all(std::span<OpenCall* const> calls);
  void take_up_opened(OpenCall& call);
  /// @return whether opening it threw nothing
  bool open_single(std::uint64_t id, const KeyRing& ring);

  // directives.cc: devices that are opened as a person says
  /// A directive for it, by one of its names; null: there is none. It holds for one device in a
  /// line: what lies in that is not asked again.
  Directed* directive_for(const Item& item);
  bool is_used_above(const Item& item, const Directed& directive) const;
  /// Whether a directive that names its stem is for the disk that it unpacks to.
  static bool means_disk_inside(const Item& item, const Directed& directive);
  /// Finds out whether it is what its directive says. @throws Error when it is not
  void follow_directive(Item& item, const HeadCache& head) const;
  /// Takes it for what its directive says, unseen.
  void take_unseen(Item& item);
  /// Keeps why it is not what its directive says.
  void note_outcome(Item& item);

  // groups.cc: several that are opened as one
  void join_group(Item& item);
  /// By which its group is known, whose UUID may be that of several.
  std::string group_key(const Item& item) const;
  /// Opens the groups of one layer that have changed: what comes out of them may be members of
  /// the next. @return whether there were any
  bool open_groups();
  /// The groups of one layer that are to be opened next.
  std::vector<Group*> next_groups();
  /// Ends groups that lie on one another, each of which would make the other anew for ever.
  void end_cycles();
  /// Whether its members say that there are more.
  bool is_short(const Group& group) const;
  /// Splits a group into instances, each of which is opened on its own.
  PlannedGroup plan(const GroupKey& key, Group& group) const;
  void take_up_group(PlannedGroup& planned);
  /// @param own how many of its members said themselves that they belong to the group
  /// @return whether something is missing
  bool take_up_instance(OpenCall& call, std::size_t own);
  void mark_homeless();
  /// Members that do not know their group and may belong to this instance: of its moment, and no
  /// nearer to another copy.
  std::vector<std::uint64_t> homeless_of(const Layer* layer, const Instance& instance,
                                         const std::vector<Instance>& instances) const;
  /// Says of an incomplete instance where its missing members were seen, and why they were not
  /// taken.
  void explain_absence(const Instance& instance, const std::vector<GroupMember>& members);
  std::string place_text(std::uint64_t id) const;
  /// Says of the members of an instance, and of what lies on several of them, that they are
  /// snapshots of different seconds.
  void say_apart(const std::vector<std::uint64_t>& members);
  TimeSpan span_of(const std::vector<std::uint64_t>& ids) const;

  // parts.cc: files that hold bytes of other images
  /// Takes what is a part of another image out of the disks, and back when it is none any more.
  /// @return whether anything changed
  bool settle_parts();
  void take_out(Item& item, const Item& owner, const std::string& role);
  /// An item and all that it lies on.
  std::set<std::uint64_t> line_of(const Item& item) const;
  std::shared_ptr<const Tree> published() const {
    const MutexLock lock(publishing);
    return tree;
  }

  // scanner.cc: how the picture changes
  /// @return the new item; null when a limit forbids it (then the parent says so)
  Item* add_inner(Inner inner, const std::vector<std::uint64_t>& parents);
  void drop_children(std::uint64_t id);
  void forget(std::uint64_t id);
  bool retry(std::uint64_t id, const KeyRing& ring);
  void repeel(const std::vector<std::uint64_t>& ids);
};

}  // namespace peelfs
