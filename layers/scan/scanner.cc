#include "scan/scanner.h"

#include <algorithm>

#include "engine/side_by_side.h"
#include "host/directed.h"
#include "peelfs/devices.h"
#include "peelfs/mutex.h"
#include "scan/state.h"

namespace peelfs {

void Scanner::State::settle() {
  part_rounds = 0;
  group_rounds.clear();
  memories.clear();
  shown = published();
  try {
    settle_all();
  } catch (...) {
    shown.reset();
    throw;
  }
  shown.reset();
  memories.clear();
  if (is_cancelled()) end_cancelled();
  if (cancelled.empty()) mark_homeless();
  const auto fresh = graph.publish();
  const MutexLock lock(publishing);
  tree = fresh;
}

void Scanner::State::settle_all() {
  for (;;) {
    while (!queue.empty()) {
      settle_wave();
      tell();
    }
    if (settle_parts()) continue;
    if (is_cancelled() || !open_groups()) break;
    tell();
  }
}

void Scanner::State::settle_wave() {
  // Bounds what is held at once: each may open to as many devices as the tree takes.
  constexpr std::size_t kMostAtOnce = 4 * kMostWorkers;
  std::vector<std::uint64_t> wave(queue.begin(), queue.end());
  queue.clear();
  std::size_t done = 0;
  try {
    look_at_all(wave);
    std::erase_if(wave, [&](std::uint64_t id) { return !graph.items().contains(id); });
    while (done < wave.size()) {
      const std::size_t end = std::min(done + kMostAtOnce, wave.size());
      std::map<std::uint64_t, Next> next;
      std::map<std::uint64_t, OpenCall> calls;
      std::vector<OpenCall*> in_order;
      for (std::size_t i = done; i < end; ++i) {
        const std::uint64_t id = wave[i];
        next.emplace(id, take_up(id));
        if (next.at(id) != Next::open) continue;
        in_order.push_back(&calls.emplace(id, call_for(id, *keys)).first->second);
      }
      open_all(in_order);
      for (; done < end; ++done) {
        const std::uint64_t id = wave[done];
        switch (next.at(id)) {
          case Next::nothing:
            break;
          case Next::unpack:
            unpack_raw(id);
            break;
          case Next::join:
            join_group(graph.at(id));
            break;
          case Next::open:
            take_up_opened(calls.at(id));
            break;
        }
      }
    }
  } catch (...) {
    // Out of memory. What was not taken up is looked at again by the next settle().
    for (std::size_t i = done; i < wave.size(); ++i) {
      if (graph.items().contains(wave[i])) graph.at(wave[i]).reset_trouble();
    }
    queue.insert(queue.begin(), wave.begin() + static_cast<std::ptrdiff_t>(done), wave.end());
    throw;
  }
}

void Scanner::State::tell() const {
  if (observer) observer(graph.publish());
}

void Scanner::State::leave_out(Item& item) {
  join(item.node.trouble, {Trouble::denied, cancelled_reason()});
  cancelled.insert(item.node.id);
}

void Scanner::State::end_cancelled() {
  for (const auto& [key, group] : groups) {
    if (!group.dirty) continue;
    for (const std::uint64_t id : group.members) leave_out(graph.at(id));
  }
  if (cancelled.empty()) return;
  for (const auto& [key, group] : groups) {
    // What it lacks may lie in what was left out.
    if (!group.incomplete) continue;
    for (const std::uint64_t id : group.members) leave_out(graph.at(id));
  }
  for (const auto& [layer, ids] : homeless) {
    for (const std::uint64_t id : ids) {
      if (!adopted.contains(id)) leave_out(graph.at(id));
    }
  }
}

Item* Scanner::State::add_inner(Inner inner, const std::vector<std::uint64_t>& parents) {
  Item& first = graph.at(parents.front());
  unsigned nesting = 0;
  unsigned depth = 0;
  for (const std::uint64_t id : parents) {
    nesting = std::max(nesting, graph.at(id).nesting + 1);
    depth = std::max(depth, graph.at(id).node.image_depth);
  }
  if (nesting > limits.nesting || graph.size() >= limits.devices) {
    const bool deep = nesting > limits.nesting;
    join(first.node.trouble,
         {Trouble::unsupported,
          deep ? "layers are nested deeper than " + std::to_string(limits.nesting)
               : "the tree has more than " + std::to_string(limits.devices) +
                     " devices; the rest is left out"});
    return nullptr;
  }
  Item item;
  item.nesting = nesting;
  item.root = first.root;
  item.taken = first.taken;
  item.image_file = inner.image_file;
  item.may_be_part = inner.image_file;
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
  node.parts = std::move(inner.parts);
  node.offset = inner.offset;
  node.properties = std::move(inner.properties);
  node.trouble = inner.trouble;
  item.inherited = std::move(inner.trouble);
  node.component = !inner.peel;
  node.image_depth = depth + (inner.image_file ? 1 : 0);
  node.parents = parents;
  item.unpacks_to_stem = inner.image_file && node.stem != node.name;
  Item& added = graph.add(std::move(item));
  if (inner.moment) added.taken.push_back({added.node.id, *inner.moment});
  queue.push_back(added.node.id);
  return &added;
}

void Scanner::State::drop_children(std::uint64_t id) {
  const std::vector<std::uint64_t> children = graph.at(id).node.children;
  for (const std::uint64_t child : children) {
    for (const std::uint64_t gone : graph.remove(child)) forget(gone);
  }
}

void Scanner::State::forget(std::uint64_t id) {
  for (auto& [key, group] : groups) {
    if (std::erase(group.members, id) != 0) group.dirty = true;
  }
  for (auto& [layer, ids] : homeless) std::erase(ids, id);
  adopted.erase(id);
  cancelled.erase(id);
}

bool Scanner::State::retry(std::uint64_t id, const KeyRing& ring) {
  Item& item = graph.at(id);
  if (item.layer == nullptr || item.node.hidden) return true;
  item.reset_trouble();
  drop_children(id);
  const bool opened = open_single(id, ring);
  settle();
  const auto& trouble = graph.at(id).node.trouble;
  return opened && (!trouble || trouble->state != Trouble::locked);
}

void Scanner::State::repeel(const std::vector<std::uint64_t>& ids) {
  graph.take_up_growth();
  for (const std::uint64_t id : ids) {
    if (!graph.items().contains(id)) continue;
    drop_children(id);
    forget(id);
    Item& item = graph.at(id);
    // A guest that writes the header of an image format to its disk must not make us follow it.
    const bool image = item.layer != nullptr && item.layer->traits.image;
    if (item.node.parents.empty() && !image) item.probe_formats = false;
    item.layer = nullptr;
    item.claim.reset();
    item.origin.reset();
    item.node.identity = {};
    item.node.layer.clear();
    item.node.format.clear();
    item.node.filesystem.reset();
    item.node.group = 0;
    item.node.group_incomplete = false;
    item.node.membership.reset();
    item.ambiguous.reset();
    item.reset_trouble();
    queue.push_back(id);
  }
  settle();
}

Scanner::Scanner(const Formats& formats, Limits limits, std::shared_ptr<const KeyRing> keys,
                 std::vector<Directive> directives, std::shared_ptr<const Cancel> cancel)
    : state_(std::make_unique<State>()) {
  state_->formats = &formats;
  state_->limits = limits;
  state_->budget = std::make_unique<Budget>(limits);
  state_->keys = std::move(keys);
  state_->cancel = std::move(cancel);
  state_->directives.reserve(directives.size());
  for (Directive& one : directives) {
    const Layer* const row =
        one.kind.empty() ? formats.for_detached_header() : formats.by_kind(one.kind);
    const bool is_format = names_format(one, formats);
    state_->directives.push_back({std::move(one), row, is_format});
  }
}

Scanner::~Scanner() = default;

void Scanner::add(const Source& source) {
  Item item;
  Node& node = item.node;
  // A disk in an image format takes its file's place once it is open; until then it is that file.
  node.kind = "file";
  node.name = source.name;
  item.file_name = source.name;
  node.stem = source.stem;
  node.tail = source.stem;
  node.path = {source.stem};
  // What is in an overlay never makes an image format of a source that is none.
  const bool covered = source.overlay != nullptr && !source.overlay_unpacked;
  node.device = covered ? source.overlay : make_storage_device(source.file);
  if (source.overlay_unpacked) item.stand_in = source.overlay;
  node.source_path = source.path;
  node.holder = source.holder;
  item.references = source.references;
  item.probe_formats = !source.raw && !covered;
  item.unpacks_to_stem = true;
  item.may_be_part = source.from_directory;
  const Item& added = state_->graph.add(std::move(item));
  state_->queue.push_back(added.node.id);
}

void Scanner::observe(Observer observer) {
  state_->observer = std::move(observer);
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
  const MutexLock lock(state_->publishing);
  return state_->tree;
}

std::vector<std::string> Scanner::endings() const {
  return state_->budget->endings();
}

void Scanner::renew_key_time() {
  state_->budget->renew(Budget::Kind::kdf_milliseconds);
}

void Scanner::direct(std::uint64_t id, const Directive& directive) {
  for (Directed& one : state_->directives) {
    if (one.directive.device == directive.device) one.id = id;
  }
  state_->repeel({id});
}

std::vector<Directive> Scanner::unused_directives() const {
  std::vector<Directive> unused;
  for (const Directed& one : state_->directives) {
    if (!one.is_used) unused.push_back(one.directive);
  }
  return unused;
}

std::vector<std::string> Scanner::refused_directives() const {
  std::vector<std::string> refused;
  for (const Directed& one : state_->directives) {
    if (!one.refusal.empty()) refused.push_back(one.refusal);
  }
  return refused;
}

std::size_t Scanner::cancelled() const {
  return state_->cancelled.size();
}

}  // namespace peelfs
