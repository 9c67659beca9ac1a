#include "scan/scanner.h"

#include <algorithm>
#include <deque>
#include <new>
#include <set>
#include <tuple>

#include "identify/identify.h"
#include "peelfs/devices.h"
#include "scan/graph.h"

namespace peelfs {

namespace {

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

bool means_incomplete(const std::optional<Trouble>& trouble) {
  return trouble && trouble->state != "note";
}

}  // namespace

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
  mutable std::mutex publishing;
  std::shared_ptr<const Tree> tree = std::make_shared<Tree>();

  void settle() {
    for (;;) {
      while (!queue.empty()) {
        const std::uint64_t id = queue.front();
        queue.pop_front();
        if (graph.items().contains(id)) look(id);
      }
      const auto dirty = std::find_if(groups.begin(), groups.end(),
                                      [](const auto& entry) { return entry.second.dirty; });
      if (dirty == groups.end()) break;
      // One group at a time, by key: what comes out of one may be a member of the next.
      if (dirty->second.members.empty()) {
        groups.erase(dirty);
      } else {
        open_group(dirty->first, dirty->second);
      }
    }
    mark_homeless();
    const auto fresh = graph.publish();
    const std::lock_guard lock(publishing);
    tree = fresh;
  }

  // --- looking at one device ---

  void look(std::uint64_t id) {
    Item& item = graph.at(id);
    if (item.node.component) return;
    item.node.identity = identify(*item.node.device);
    if (use_detached_header(item)) return open_single(id);
    const auto trouble = caught([&] { probe(item); });
    if (trouble) add_trouble(item.node.trouble, *trouble);
    // A damaged table in a raw image file is the disk's trouble, which is looked at next.
    if (item.image_file && !(item.layer && item.layer->image_format) && unpack_raw(id)) return;
    if (!item.layer || !item.layer->image_format) settle_source_name(item);
    if (!item.claim) return;
    item.node.format = item.claim->format;
    // The identifier of a partition table is no UUID of the device: lsblk shows it as PTUUID.
    const bool table = item.claim->format == "gpt" || item.claim->format == "dos";
    std::string& uuid = table ? item.node.identity.ptuuid : item.node.identity.uuid;
    if (uuid.empty()) uuid = item.claim->uuid;
    if (item.node.identity.label.empty()) item.node.identity.label = item.claim->label;
    if (!item.claim->group) return open_single(id);
    join_group(item);
  }

  void probe(Item& item) {
    const ProbeInput input{*item.node.device, item.node.identity};
    for (const Layer& layer : layer_table()) {
      if (layer.image_format && !item.probe_formats) continue;
      // Set before the probe: if it throws, the device is this layer's, and damaged.
      item.layer = &layer;
      item.node.layer = layer.name;
      item.claim = layer.probe(input);
      if (item.claim) return;
    }
    item.layer = nullptr;
    item.node.layer.clear();
  }

  bool use_detached_header(Item& item) {
    for (const std::string& name :
         {item.node.name, item.node.stem, item.node.partuuid, item.node.source_path}) {
      const auto header = headers.find(name);
      if (name.empty() || header == headers.end()) continue;
      const auto table = layer_table();
      const auto luks = std::find_if(table.begin(), table.end(),
                                     [](const Layer& layer) { return layer.name == "luks"; });
      if (luks == table.end()) return false;
      used_headers.insert(name);
      item.layer = &*luks;
      item.node.layer = luks->name;
      item.node.format = "crypto_LUKS";
      item.detached_header = header->second;
      settle_source_name(item);
      return true;
    }
    return false;
  }

  /// A source that is no image format is a disk, and called as one.
  static void settle_source_name(Item& item) {
    if (!item.node.parents.empty() || item.node.kind != "file") return;
    item.node.kind = "disk";
    item.node.name = item.node.stem;
  }

  /// A raw image file in a filesystem unpacks to a disk of the same bytes, so that its partitions
  /// are named after the disk as those of every other image are. @return false when the name is the
  /// same
  bool unpack_raw(std::uint64_t id) {
    Item& file = graph.at(id);
    if (!file.unpacks_to_stem) return false;
    file.layer = nullptr;
    file.claim.reset();
    file.node.layer.clear();
    file.node.format = "raw";
    file.node.trouble.reset();
    const Identity identity = file.node.identity;
    file.node.identity = {};  // labels and UUIDs belong to the disk
    Inner disk;
    disk.kind = "disk";
    disk.name = file.node.stem;
    disk.device = file.node.device;
    if (Item* item = add_inner(std::move(disk), {id})) item->probe_formats = false;
    return true;
  }

  // --- opening ---

  Member member_of(const Item& item) const {
    return {item.node.device,     item.claim ? &*item.claim : nullptr,
            item.node.stem,       item.node.tail,
            item.unpacks_to_stem, item.references};
  }

  void open_single(std::uint64_t id) { open_single(id, *keys); }

  void open_single(std::uint64_t id, const KeyRing& ring) {
    Item& item = graph.at(id);
    const Member member = member_of(item);
    Opened opened;
    const OpenInput input{{&member, 1}, ring, limits, item.detached_header, item.node.image_depth};
    const auto trouble = caught([&] { opened = item.layer->open(input); });
    if (trouble) add_trouble(item.node.trouble, *trouble);
    if (opened.trouble) add_trouble(item.node.trouble, *opened.trouble);
    if (item.layer->image_format && item.node.parents.empty() && !opened.devices.empty()) {
      // The disk takes its file's place, and its troubles.
      item.node.hidden = true;
      if (item.stand_in) opened.devices.front().device = item.stand_in;
      if (item.node.trouble) add_trouble(opened.devices.front().trouble, *item.node.trouble);
    }
    for (Inner& inner : opened.devices) add_inner(std::move(inner), {id});
  }

  void join_group(Item& item) {
    if (item.claim->group->empty()) {
      homeless[item.layer].push_back(item.node.id);
      for (auto& [key, group] : groups) {
        if (key.first == item.layer && group.incomplete) group.dirty = true;
      }
      return;
    }
    Group& group = groups[{item.layer, *item.claim->group}];
    if (group.number == 0) group.number = ++last_group;
    item.node.group = group.number;
    // In one order however often a member comes back: ids, and so names, hang on their parents.
    group.members.insert(std::lower_bound(group.members.begin(), group.members.end(), item.node.id),
                         item.node.id);
    group.dirty = true;
  }

  void open_group(const GroupKey& key, Group& group) {
    group.dirty = false;
    group.incomplete = false;
    for (const std::uint64_t id : group.members) drop_children(id);
    std::vector<GroupMember> members;
    for (const std::uint64_t id : group.members) {
      const Item& item = graph.at(id);
      members.push_back({id, item.root, item.claim->uuid});
    }
    const auto instances = split_clones(members);
    for (const auto& instance : instances) {
      std::vector<std::uint64_t> ids;
      std::set<std::uint64_t> roots;
      for (const GroupMember& member : instance) {
        ids.push_back(member.id);
        roots.insert(member.root);
      }
      for (const std::uint64_t id : homeless[key.first]) {
        // Beside clones only those of the same source can be told to belong.
        if (instances.size() == 1 || roots.contains(graph.at(id).root)) ids.push_back(id);
      }
      if (open_instance(*key.first, ids, instance.size())) group.incomplete = true;
      for (const std::uint64_t id : ids) {
        if (adopted.contains(id)) graph.at(id).node.group = group.number;
      }
    }
    for (const std::uint64_t id : group.members) {
      graph.at(id).node.group_incomplete = group.incomplete;
    }
  }

  /// @param own how many of `ids` said themselves that they belong to the group
  /// @return whether something is missing
  bool open_instance(const Layer& layer, const std::vector<std::uint64_t>& ids, std::size_t own) {
    std::vector<Member> members;
    unsigned depth = 0;
    for (const std::uint64_t id : ids) {
      const Item& item = graph.at(id);
      members.push_back(member_of(item));
      depth = std::max(depth, item.node.image_depth);
    }
    Opened opened;
    const OpenInput input{members, *keys, limits, nullptr, depth};
    const auto trouble = caught([&] { opened = layer.open(input); });
    for (std::size_t i = 0; i < own; ++i) {
      Item& member = graph.at(ids[i]);
      std::optional<Trouble>& known = member.node.trouble;
      known = member.inherited;  // what an earlier opening said of the group holds no longer
      if (trouble) add_trouble(known, *trouble);
      if (opened.trouble) add_trouble(known, *opened.trouble);
    }
    for (const std::size_t index : opened.adopted) adopted.insert(ids.at(index));
    std::vector<std::uint64_t> all(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(own));
    for (Inner& inner : opened.devices) {
      std::vector<std::uint64_t> parents;
      for (const std::size_t index : inner.members) {
        if (index < ids.size()) parents.push_back(ids[index]);
      }
      add_inner(std::move(inner), parents.empty() ? all : parents);
    }
    return means_incomplete(trouble) || means_incomplete(opened.trouble);
  }

  /// @return the new item; null when a limit forbids it (then the parent says so)
  Item* add_inner(Inner inner, const std::vector<std::uint64_t>& parents) {
    Item& first = graph.at(parents.front());
    unsigned nesting = 0;
    unsigned depth = 0;
    for (const std::uint64_t id : parents) {
      nesting = std::max(nesting, graph.at(id).nesting + 1);
      depth = std::max(depth, graph.at(id).node.image_depth);
    }
    if (nesting > limits.nesting || graph.size() >= limits.devices) {
      const bool deep = nesting > limits.nesting;
      add_trouble(
          first.node.trouble,
          {"unsupported", deep ? "layers are nested deeper than " + std::to_string(limits.nesting)
                               : "the tree has more than " + std::to_string(limits.devices) +
                                     " devices; the rest is left out"});
      return nullptr;
    }
    Item item;
    item.nesting = nesting;
    item.root = first.root;
    item.image_file = inner.image_file;
    item.references = std::move(inner.references);
    Node& node = item.node;
    node.kind = std::move(inner.kind);
    node.name = std::move(inner.name);
    node.stem = inner.stem.empty() ? node.name : std::move(inner.stem);
    node.tail = inner.tail.empty() ? node.stem : std::move(inner.tail);
    node.path = std::move(inner.path);
    node.device = std::move(inner.device);
    node.partuuid = std::move(inner.partuuid);
    node.partlabel = std::move(inner.partlabel);
    node.parttype = std::move(inner.parttype);
    node.trouble = inner.trouble;
    item.inherited = std::move(inner.trouble);
    node.component = !inner.peel;
    node.image_depth = depth + (inner.image_file ? 1 : 0);
    node.parents = parents;
    item.unpacks_to_stem = inner.image_file && node.stem != node.name;
    Item& added = graph.add(std::move(item));
    queue.push_back(added.node.id);
    return &added;
  }

  // --- changes ---

  void drop_children(std::uint64_t id) {
    const std::vector<std::uint64_t> children = graph.at(id).node.children;
    for (const std::uint64_t child : children) {
      for (const std::uint64_t gone : graph.remove(child)) forget(gone);
    }
  }

  void forget(std::uint64_t id) {
    for (auto& [key, group] : groups) {
      if (std::erase(group.members, id) != 0) group.dirty = true;
    }
    for (auto& [layer, ids] : homeless) std::erase(ids, id);
    adopted.erase(id);
  }

  bool retry(std::uint64_t id, const KeyRing& ring) {
    Item& item = graph.at(id);
    if (item.layer == nullptr || item.node.hidden) return true;
    item.node.trouble = item.inherited;
    drop_children(id);
    open_single(id, ring);
    settle();
    const auto& trouble = graph.at(id).node.trouble;
    return !trouble || trouble->state != "locked";
  }

  void repeel(const std::vector<std::uint64_t>& ids) {
    for (const std::uint64_t id : ids) {
      if (!graph.items().contains(id)) continue;
      drop_children(id);
      forget(id);
      Item& item = graph.at(id);
      // A guest that writes the header of an image format to its disk must not make us follow it.
      const bool image = item.layer != nullptr && item.layer->image_format;
      if (item.node.parents.empty() && !image) item.probe_formats = false;
      item.layer = nullptr;
      item.claim.reset();
      item.node.identity = {};
      item.node.layer.clear();
      item.node.format.clear();
      item.node.group = 0;
      item.node.group_incomplete = false;
      item.node.trouble = item.inherited;
      queue.push_back(id);
    }
    settle();
  }

  void mark_homeless() {
    for (const auto& [layer, ids] : homeless) {
      for (const std::uint64_t id : ids) {
        Node& node = graph.at(id).node;
        if (adopted.contains(id) || node.trouble) continue;
        node.trouble =
            Trouble{"missing",
                    "this member holds no metadata of its group, and no other member that "
                    "names it is here; add the sources that hold the other members"};
      }
    }
  }
};

Scanner::Scanner(Limits limits, std::shared_ptr<const KeyRing> keys,
                 std::map<std::string, DevicePtr> headers)
    : state_(std::make_unique<State>()) {
  state_->limits = limits;
  state_->keys = std::move(keys);
  state_->headers = std::move(headers);
}

Scanner::~Scanner() = default;

void Scanner::add(const Source& source) {
  Item item;
  Node& node = item.node;
  // A disk in an image format takes its file's place once it is open; until then it is that file.
  node.kind = "file";
  node.name = source.name;
  node.stem = source.stem;
  node.tail = source.stem;
  node.path = {source.stem};
  // What is in an overlay never makes an image format of a source that is none.
  const bool covered = source.overlay != nullptr && !source.overlay_unpacked;
  node.device = covered ? source.overlay : make_file_device(source.file);
  if (source.overlay_unpacked) item.stand_in = source.overlay;
  node.source_path = source.path;
  item.references = source.references;
  item.probe_formats = !source.raw && !covered;
  item.unpacks_to_stem = true;
  const Item& added = state_->graph.add(std::move(item));
  state_->queue.push_back(added.node.id);
}

void Scanner::settle() {
  state_->settle();
}

bool Scanner::retry(std::uint64_t id, const KeyRing& keys) {
  return state_->retry(id, keys);
}

void Scanner::repeel(const std::vector<std::uint64_t>& ids) {
  state_->repeel(ids);
}

std::shared_ptr<const Tree> Scanner::tree() const {
  const std::lock_guard lock(state_->publishing);
  return state_->tree;
}

std::vector<std::string> Scanner::unused_headers() const {
  std::vector<std::string> unused;
  for (const auto& [name, device] : state_->headers) {
    if (!state_->used_headers.contains(name)) unused.push_back(name);
  }
  return unused;
}

}  // namespace peelfs
