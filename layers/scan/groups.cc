// Groups, which are opened as a whole: what belongs together, and who is missing.
#include <algorithm>

#include "scan/state.h"

namespace peelfs {

namespace {

bool means_incomplete(const std::optional<Trouble>& trouble) {
  return trouble && trouble->state != "note";
}

}  // namespace

void Scanner::State::join_group(Item& item) {
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

void Scanner::State::open_group(const GroupKey& key, Group& group) {
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
    ++last_instance;
    for (const GroupMember& member : instance) graph.at(member.id).node.instance = last_instance;
    for (const std::uint64_t id : ids) {
      if (adopted.contains(id)) graph.at(id).node.instance = last_instance;
      if (adopted.contains(id)) graph.at(id).node.group = group.number;
    }
  }
  for (const std::uint64_t id : group.members) {
    graph.at(id).node.group_incomplete = group.incomplete;
  }
}

bool Scanner::State::open_instance(const Layer& layer, const std::vector<std::uint64_t>& ids,
                                   std::size_t own) {
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

void Scanner::State::mark_homeless() {
  for (const auto& [layer, ids] : homeless) {
    for (const std::uint64_t id : ids) {
      Node& node = graph.at(id).node;
      if (adopted.contains(id) || node.trouble) continue;
      node.trouble = Trouble{"missing",
                             "this member holds no metadata of its group, and no other member that "
                             "names it is here; add the sources that hold the other members"};
    }
  }
}

}  // namespace peelfs
