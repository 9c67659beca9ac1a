// What the scanner knows while it works: private to layers/scan.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "scan/graph.h"
#include "scan/scanner.h"

namespace peelfs {

/// The members of one group, and what was made of them the last time.
struct Group {
  std::vector<std::uint64_t> members;
  bool dirty = true;        ///< has members that its children do not know of
  bool incomplete = false;  ///< said so when it was opened: a latecomer may complete it
  std::uint64_t number = 0;
};

/// Whatever a layer throws becomes what is shown; only running out of memory is not the disk's
/// fault.
template <typename Function>
std::optional<Trouble> caught(Function&& function) {
  try {
    function();
    return std::nullopt;
  } catch (const Error& error) {
    return trouble_from(error);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    return Trouble{"damaged", std::string("a layer failed without saying why: ") + error.what()};
  }
}

struct Scanner::State {
  using GroupKey = std::pair<const Layer*, std::string>;

  Limits limits;
  std::shared_ptr<const KeyRing> keys;
  std::map<std::string, DevicePtr> headers;
  std::set<std::string> used_headers;
  Graph graph;
  std::deque<std::uint64_t> queue;
  std::map<GroupKey, Group> groups;
  /// Members that do not know their group (an LVM PV without metadata), by layer.
  std::map<const Layer*, std::vector<std::uint64_t>> homeless;
  std::set<std::uint64_t> adopted;  ///< homeless ones that found their group
  std::uint64_t last_group = 0;     ///< the number that was given last
  std::uint64_t last_instance = 0;
  mutable std::mutex publishing;
  std::shared_ptr<const Tree> tree = std::make_shared<Tree>();

  void settle();

  // look.cc: one device
  void look(std::uint64_t id);
  void probe(Item& item);
  bool use_detached_header(Item& item);
  /// A source that is no image format is a disk, and called as one.
  static void settle_source_name(Item& item);
  /// A raw image file in a filesystem unpacks to a disk of the same bytes, so that its partitions
  /// are named after the disk as those of every other image are.
  /// @return false when the name is the same
  bool unpack_raw(std::uint64_t id);
  Member member_of(const Item& item) const;
  void open_single(std::uint64_t id) { open_single(id, *keys); }
  void open_single(std::uint64_t id, const KeyRing& ring);

  // groups.cc: several that are opened as one
  void join_group(Item& item);
  void open_group(const GroupKey& key, Group& group);
  /// @param own how many of `ids` said themselves that they belong to the group
  /// @return whether something is missing
  bool open_instance(const Layer& layer, const std::vector<std::uint64_t>& ids, std::size_t own);
  void mark_homeless();

  // scanner.cc: how the picture changes
  /// @return the new item; null when a limit forbids it (then the parent says so)
  Item* add_inner(Inner inner, const std::vector<std::uint64_t>& parents);
  void drop_children(std::uint64_t id);
  void forget(std::uint64_t id);
  bool retry(std::uint64_t id, const KeyRing& ring);
  void repeel(const std::vector<std::uint64_t>& ids);
};

}  // namespace peelfs
