// Opening devices, several at once, and taking up what was found in those that are no group.
#include "scan/open_call.h"

#include <algorithm>
#include <span>
#include <utility>

#include "engine/side_by_side.h"
#include "peelfs/layer_memory.h"
#include "scan/state.h"

namespace peelfs {

namespace {

/// Whether it has to be opened behind those before it: where keys are derived the run's time for
/// that ends at the same device each time, and where something may be written chance does not
/// decide who has a file first.
bool must_keep_order(const OpenCall& call) {
  return call.layer->traits.encryption || std::ranges::any_of(call.members, [](const Member& one) {
           return one.device->may_be_written();
         });
}

}  // namespace

Member Scanner::State::member_of(const Item& item) const {
  return {item.node.device,     item.claim ? &*item.claim : nullptr,
          item.node.stem,       item.node.tail,
          item.unpacks_to_stem, item.references};
}

OpenCall Scanner::State::call_for(const Layer& layer, std::vector<std::uint64_t> ids,
                                  const KeyRing& ring) const {
  OpenCall call;
  call.layer = &layer;
  call.keys = &ring;
  for (const std::uint64_t id : ids) {
    const Item& item = graph.at(id);
    call.members.push_back(member_of(item));
    call.image_depth = std::max(call.image_depth, item.node.image_depth);
  }
  call.ids = std::move(ids);
  return call;
}

OpenCall Scanner::State::call_for(std::uint64_t id, const KeyRing& ring) const {
  const Item& item = graph.at(id);
  OpenCall call = call_for(*item.layer, {id}, ring);
  const bool is_directed = item.directive != nullptr && item.directive->row == item.layer;
  if (is_directed) call.directive = &item.directive->directive;
  return call;
}

void Scanner::State::open(OpenCall& call) const {
  const OpenInput input{call.members,
                        *call.keys,
                        limits,
                        call.directive,
                        call.image_depth,
                        budget.get(),
                        memories.at(call.layer).get(),
                        formats,
                        {},
                        cancel.get()};
  call.opened = {};
  call.failure = caught([&] { call.opened = call.layer->open(input); });
  call.cancelled = is_cancelled();
  // What the tree has no room for is not kept until it is taken up. One more makes it say so.
  const std::size_t room = limits.devices - std::min(limits.devices, graph.size()) + 1;
  if (call.opened.devices.size() > room) call.opened.devices.resize(room);
}

void Scanner::State::open_all(std::span<OpenCall* const> calls) {
  std::vector<OpenCall*> in_order, searches;
  std::vector<std::vector<OpenCall*>> tasks;
  std::map<LayerMemory*, std::uint64_t> marks;
  // Where the run's budget may cut searches short, they have to end at the same place each time.
  const auto is_scarce = [&] { return budget->left(Budget::Kind::files) < limits.search_files; };
  const bool was_scarce = is_scarce();
  for (OpenCall* const call : calls) {
    auto& memory = memories[call->layer];
    if (!memory) memory = std::make_unique<LayerMemory>();
    if (!marks.contains(memory.get())) marks.emplace(memory.get(), memory->mark());
    const bool is_search = call->layer->traits.filesystem;
    if (is_search) searches.push_back(call);
    if (must_keep_order(*call) || (is_search && was_scarce)) {
      in_order.push_back(call);
    } else {
      tasks.push_back({call});
    }
  }
  if (!in_order.empty()) tasks.insert(tasks.begin(), std::move(in_order));
  const Budget::Mark before = budget->mark(Budget::Kind::files);
  side_by_side(tasks.size(), kMostWorkers, [&](std::size_t index) {
    for (OpenCall* const call : tasks[index]) open(*call);
  });
  if (was_scarce || !is_scarce() || searches.size() < 2 || is_cancelled()) return;
  budget->go_back(Budget::Kind::files, before);
  for (const auto& [memory, mark] : marks) memory->go_back(mark);
  for (OpenCall* const call : searches) {
    if (is_cancelled()) break;
    open(*call);
  }
}

void Scanner::State::take_up_opened(OpenCall& call) {
  const std::uint64_t id = call.ids.front();
  Item& item = graph.at(id);
  Opened& opened = call.opened;
  if (call.failure) join(item.node.trouble, *call.failure);
  if (opened.trouble) join(item.node.trouble, *opened.trouble);
  item.node.filesystem =
      opened.filesystems.empty() ? nullptr : std::move(opened.filesystems.front());
  if (call.cancelled) leave_out(item);
  if (item.layer->traits.image && item.node.parents.empty() && !opened.devices.empty()) {
    // The disk takes its file's place, and its troubles.
    item.node.hidden = true;
    if (item.stand_in) opened.devices.front().device = item.stand_in;
    if (item.node.trouble) join(opened.devices.front().trouble, *item.node.trouble);
  }
  for (Inner& inner : opened.devices) add_inner(std::move(inner), {id});
}

bool Scanner::State::open_single(std::uint64_t id, const KeyRing& ring) {
  OpenCall call = call_for(id, ring);
  OpenCall* const only = &call;
  open_all({&only, 1});
  take_up_opened(call);
  return !call.failure;
}

}  // namespace peelfs
