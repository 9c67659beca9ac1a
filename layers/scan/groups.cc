// Groups, which are opened as a whole: what belongs together, and who is missing.
#include <algorithm>
#include <array>
#include <ctime>
#include <iterator>

#include "scan/state.h"

namespace peelfs {

namespace {

/// Of one group in one settling: as many as there may be groups below one another.
constexpr unsigned kMostRounds = 16;

bool means_incomplete(const std::optional<Trouble>& trouble) {
  return trouble && trouble->state != Trouble::note;
}

/// @return in UTC; empty where the time cannot be told
std::string date_text(std::uint32_t seconds_since_1970) {
  const auto seconds = static_cast<std::time_t>(seconds_since_1970);
  std::tm time{};
  std::array<char, 32> date{};
  if (gmtime_r(&seconds, &time) == nullptr ||
      std::strftime(date.data(), date.size(), "%Y-%m-%d %H:%M:%S", &time) == 0) {
    return {};
  }
  return date.data();
}

std::string apart_text(const TimeSpan& span) {
  const std::uint32_t seconds = span.seconds();
  return std::to_string(seconds) + (seconds == 1 ? " second" : " seconds") + " apart, from " +
         date_text(span.earliest) + " to " + date_text(span.latest) +
         " UTC; if the guest ran meanwhile, ";
}

}  // namespace

std::string Scanner::State::group_key(const Item& item) const {
  const std::string& uuid = item.claim->membership->group;
  // A copy of a group that lies on the group itself (a backup of its disk, say) is one of its own:
  // the outer one cannot depend on what is in it.
  std::uint64_t outer = 0;
  for (const std::uint64_t id : line_of(item)) {
    const Item& below = graph.at(id);
    const bool is_same = id != item.node.id && below.layer == item.layer && below.claim &&
                         below.claim->membership && below.claim->membership->group == uuid;
    if (is_same) outer = std::max(outer, below.node.group);
  }
  return outer == 0 ? uuid : uuid + " on " + std::to_string(outer);
}

void Scanner::State::join_group(Item& item) {
  if (item.claim->membership->group.empty()) {
    homeless[item.layer].push_back(item.node.id);
    for (auto& [key, group] : groups) {
      if (key.first == item.layer && group.incomplete) group.dirty = true;
    }
    return;
  }
  Group& group = groups[{item.layer, group_key(item)}];
  if (group.number == 0) group.number = ++last_group;
  item.node.group = group.number;
  // Members are kept in one order, even if one goes and comes back: ids, and so names, depend on
  // the order of parents.
  group.members.insert(std::lower_bound(group.members.begin(), group.members.end(), item.node.id),
                       item.node.id);
  group.dirty = true;
}

namespace {

/// @return how many members a group has, by those who know of its last change; 0: no one says
unsigned newest_count(const std::vector<const Membership*>& said) {
  std::uint64_t newest = 0;
  unsigned count = 0;
  for (const Membership* one : said) {
    if (one->generation < newest) continue;
    count = one->generation > newest ? one->expected : std::max(count, one->expected);
    newest = one->generation;
  }
  return count;
}

}  // namespace

bool Scanner::State::is_short(const Group& group) const {
  std::set<std::string> there;
  std::vector<const Membership*> said;
  for (const std::uint64_t id : group.members) {
    const auto& membership = graph.at(id).node.membership;
    if (!membership) continue;
    there.insert(membership->member);
    said.push_back(&*membership);
  }
  return there.size() < newest_count(said);
}

void Scanner::State::end_cycles() {
  for (auto& [key, group] : groups) {
    const auto rounds = group_rounds.find(key);
    if (!group.dirty || rounds == group_rounds.end() || rounds->second < kMostRounds) continue;
    group.dirty = false;
    for (const std::uint64_t id : group.members) {
      join(graph.at(id).node.trouble,
           {Trouble::damaged,
            "members of its group lie on what is made of other members, which has no end; not all "
            "of them are used"});
    }
  }
}

std::vector<Group*> Scanner::State::next_groups() {
  end_cycles();
  std::erase_if(
      groups, [](const auto& entry) { return entry.second.dirty && entry.second.members.empty(); });
  const auto first = std::ranges::find_if(groups, [](const auto& one) { return one.second.dirty; });
  std::vector<Group*> all;
  if (first == groups.end()) return all;
  for (auto& [key, group] : groups) {
    if (key.first == first->first.first && group.dirty) all.push_back(&group);
  }
  // What comes out of one that is whole may be what another one lacks.
  std::vector<Group*> whole;
  std::ranges::copy_if(all, std::back_inserter(whole),
                       [&](const Group* group) { return !is_short(*group); });
  return whole.empty() ? all : whole;
}

bool Scanner::State::open_groups() {
  const std::vector<Group*> chosen = next_groups();
  if (chosen.empty()) return false;
  std::map<const Group*, std::size_t> sizes;
  for (const Group* group : chosen) sizes.emplace(group, group->members.size());
  for (const Group* group : chosen) {
    const std::vector<std::uint64_t> members = group->members;
    for (const std::uint64_t id : members) {
      if (graph.items().contains(id)) drop_children(id);
    }
  }
  std::vector<PlannedGroup> planned;
  try {
    for (auto& [key, group] : groups) {
      const auto size = sizes.find(&group);
      // A member that lay on another of these groups comes back with that.
      if (size == sizes.end() || size->second != group.members.size()) continue;
      ++group_rounds[key];
      planned.push_back(plan(key, group));
      group.dirty = false;
    }
    std::vector<OpenCall*> calls;
    for (PlannedGroup& one : planned) {
      for (PlannedGroup::Part& part : one.parts) calls.push_back(&part.call);
    }
    open_all(calls);
    for (PlannedGroup& one : planned) take_up_group(one);
  } catch (...) {
    // Out of memory. The next settle() opens them again.
    for (const PlannedGroup& one : planned) one.group->dirty = true;
    throw;
  }
  return true;
}

PlannedGroup Scanner::State::plan(const GroupKey& key, Group& group) const {
  PlannedGroup planned;
  planned.group = &group;
  for (const std::uint64_t id : group.members) {
    planned.members.push_back(graph.member_of_group(id));
  }
  std::vector<Instance> instances = split_instances(planned.members);
  for (const Instance& instance : instances) {
    std::vector<std::uint64_t> ids;
    for (const GroupMember& member : instance.members) ids.push_back(member.id);
    for (const std::uint64_t id : homeless_of(key.first, instance, instances)) ids.push_back(id);
    planned.parts.push_back({instance, call_for(*key.first, std::move(ids), *keys)});
  }
  return planned;
}

void Scanner::State::take_up_group(PlannedGroup& planned) {
  Group& group = *planned.group;
  group.incomplete = false;
  for (auto& [instance, call] : planned.parts) {
    const std::vector<std::uint64_t>& ids = call.ids;
    if (take_up_instance(call, instance.members.size())) {
      group.incomplete = true;
      explain_absence(instance, planned.members);
    }
    ++last_instance;
    std::vector<std::uint64_t> together;
    for (const GroupMember& member : instance.members) {
      graph.at(member.id).node.instance = last_instance;
    }
    std::copy_if(ids.begin(), ids.end(), std::back_inserter(together), [&](std::uint64_t id) {
      return adopted.contains(id) || graph.at(id).node.instance == last_instance;
    });
    say_apart(together);
    for (const std::uint64_t id : ids) {
      if (adopted.contains(id)) graph.at(id).node.instance = last_instance;
      if (adopted.contains(id)) graph.at(id).node.group = group.number;
    }
  }
  for (const std::uint64_t id : group.members) {
    graph.at(id).node.group_incomplete = group.incomplete;
  }
}

std::vector<std::uint64_t> Scanner::State::homeless_of(
    const Layer* layer, const Instance& instance, const std::vector<Instance>& instances) const {
  const GroupMember& own = instance.members.front();
  // How many of its outermost places a member shares with an instance.
  const auto nearness = [](const GroupMember& member, const Instance& to) {
    std::size_t most = 0;
    for (const GroupMember& one : to.members) most = std::max(most, shared_places(one, member));
    return most;
  };
  struct Offer {
    std::uint64_t id;
    std::size_t nearness;
    bool doubtful;
  };
  std::map<std::string, std::vector<Offer>> offers;
  const auto found = homeless.find(layer);
  if (found == homeless.end()) return {};
  for (const std::uint64_t id : found->second) {
    const GroupMember member = graph.member_of_group(id);
    const bool of_its_moment =
        std::all_of(instance.members.begin(), instance.members.end(),
                    [&](const auto& one) { return may_be_of_one_moment(member.taken, one.taken); });
    if (!of_its_moment) continue;
    const std::size_t here = nearness(member, instance);
    const bool elsewhere =
        std::any_of(instances.begin(), instances.end(), [&](const Instance& other) {
          return other.members.front().id != own.id &&
                 may_be_of_one_moment(member.taken, other.members.front().taken) &&
                 nearness(member, other) >= here;
        });
    offers[member.uuid].push_back({id, here, elsewhere});
  }
  std::vector<std::uint64_t> ids;
  for (auto& [uuid, some] : offers) {
    std::sort(some.begin(), some.end(),
              [](const Offer& a, const Offer& b) { return a.nearness > b.nearness; });
    // If two copies are equally near it is not known which of them belongs here.
    const bool tied = some.size() > 1 && some[0].nearness == some[1].nearness;
    if (!tied && !some.front().doubtful) ids.push_back(some.front().id);
  }
  // If each is near the instance, but they are not all near one another, it is not known which of
  // them belong to it.
  std::vector<GroupMember> all = instance.members;
  for (const std::uint64_t id : ids) all.push_back(graph.member_of_group(id));
  if (time_span(all).seconds() > kSameMomentSeconds) return {};
  return ids;
}

std::string Scanner::State::place_text(std::uint64_t id) const {
  const Item& item = graph.at(id);
  std::string text = item.node.stem;
  if (item.taken.empty()) {
    return text + (item.node.parents.empty() ? "" : " of " + graph.at(item.root).node.source_path);
  }
  const Moment& moment = item.taken.back().moment;
  if (moment.seconds == 0) return text + " (taken at an unknown time)";
  const std::string date = date_text(moment.seconds);
  return date.empty() ? text : text + " (taken at " + date + " UTC)";
}

TimeSpan Scanner::State::span_of(const std::vector<std::uint64_t>& ids) const {
  std::vector<GroupMember> members;
  members.reserve(ids.size());
  for (const std::uint64_t id : ids) members.push_back(graph.member_of_group(id));
  return time_span(members);
}

void Scanner::State::say_apart(const std::vector<std::uint64_t>& members) {
  const TimeSpan whole = span_of(members);
  if (whole.seconds() == 0) return;
  std::set<std::uint64_t> inside;
  for (const std::uint64_t id : members) {
    Node& node = graph.at(id).node;
    join(node.trouble, {Trouble::note, "the members of its group are snapshots taken " +
                                           apart_text(whole) + "what lies on them is mixed"});
    inside.insert(node.children.begin(), node.children.end());
  }
  for (const std::uint64_t id : inside) {
    Item& item = graph.at(id);
    const TimeSpan span = span_of(item.node.parents);
    if (span.seconds() == 0) continue;
    const Trouble note{Trouble::note,
                       "its members are snapshots taken " + apart_text(span) + "this mixes them"};
    join(item.node.trouble, note);
    join(item.inherited, note);
  }
}

void Scanner::State::explain_absence(const Instance& instance,
                                     const std::vector<GroupMember>& members) {
  std::map<std::string, std::vector<std::uint64_t>> absent;
  for (const GroupMember& member : members) absent[member.uuid].push_back(member.id);
  for (const GroupMember& member : instance.members) absent.erase(member.uuid);
  if (absent.empty()) return;
  std::string text;
  constexpr std::size_t kMost = 3;  // of each
  std::size_t named = 0;
  for (const auto& [uuid, ids] : absent) {
    if (named++ == kMost) {
      text += ", and members of " + std::to_string(absent.size() - kMost) + " more";
      break;
    }
    text += (text.empty() ? "" : "; ") + uuid + " is in ";
    for (std::size_t i = 0; i < ids.size() && i < kMost; ++i) {
      text += (i == 0 ? "" : ", ") + place_text(ids[i]);
    }
    if (ids.size() > kMost) text += " and " + std::to_string(ids.size() - kMost) + " more";
  }
  const std::string own = place_text(instance.members.front().id);
  const std::string why =
      instance.among_copies
          ? "it cannot be told which copies of its members belong together, so they are not mixed: "
          : "members of another moment are not mixed with " + own + ": ";
  const std::string advice = instance.among_copies ? "; name only the sources of one copy" : "";
  const Trouble note{Trouble::note, printable(why + text).append(advice)};
  for (const GroupMember& member : instance.members) {
    join(graph.at(member.id).node.trouble, note);
  }
}

bool Scanner::State::take_up_instance(OpenCall& call, std::size_t own) {
  const std::vector<std::uint64_t>& ids = call.ids;
  Opened& opened = call.opened;
  const std::optional<Trouble>& trouble = call.failure;
  for (std::size_t i = 0; i < own; ++i) {
    Item& member = graph.at(ids[i]);
    std::optional<Trouble>& known = member.node.trouble;
    member.reset_trouble();  // what an earlier opening said of the group holds no longer
    if (trouble) join(known, *trouble);
    if (opened.trouble) join(known, *opened.trouble);
    if (call.cancelled) leave_out(member);
    member.node.filesystem = i < opened.filesystems.size() ? opened.filesystems[i] : nullptr;
  }
  for (const std::size_t index : opened.adopted) {
    adopted.insert(ids.at(index));
    // It learns from the others whose it is.
    Node& late = graph.at(ids.at(index)).node;
    const std::string uuid = late.membership ? late.membership->member : "";
    late.membership = graph.at(ids.front()).node.membership;
    late.membership->member = uuid;
    late.membership->generation = 0;
  }
  bool incomplete = means_incomplete(trouble) || means_incomplete(opened.trouble);
  for (const MemberReport& report : opened.reports) {
    if (report.member >= ids.size()) continue;
    Node& member = graph.at(ids[report.member]).node;
    join(member.trouble, report.trouble);
    member.stale = member.stale || report.stale;
    incomplete = incomplete || means_incomplete(report.trouble);
  }
  unsigned expected = opened.expected;
  std::set<std::string> there;
  std::vector<const Membership*> said;
  for (const std::uint64_t id : ids) {
    const Node& node = graph.at(id).node;
    if (!node.membership || node.membership->group.empty()) continue;
    there.insert(node.membership->member);
    said.push_back(&*node.membership);
  }
  if (expected == 0) expected = newest_count(said);
  for (const std::uint64_t id : ids) {
    Node& node = graph.at(id).node;
    if (node.membership && !node.membership->group.empty()) node.membership->expected = expected;
  }
  if (there.size() < expected) incomplete = true;
  std::vector<std::uint64_t> all(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(own));
  for (Inner& inner : opened.devices) {
    std::vector<std::uint64_t> parents;
    for (const std::size_t index : inner.members) {
      if (index < ids.size()) parents.push_back(ids[index]);
    }
    add_inner(std::move(inner), parents.empty() ? all : parents);
  }
  return incomplete;
}

void Scanner::State::mark_homeless() {
  for (const auto& [layer, ids] : homeless) {
    for (const std::uint64_t id : ids) {
      Node& node = graph.at(id).node;
      if (adopted.contains(id) || means_incomplete(node.trouble)) continue;
      join(node.trouble,
           {Trouble::missing,
            "this member holds no metadata of its group, and no other member that names it "
            "is here; add the sources that hold the other members"});
    }
  }
}

}  // namespace peelfs
