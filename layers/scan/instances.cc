#include "scan/instances.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace peelfs {

namespace {

using Members = std::vector<GroupMember>;

std::set<std::string> uuids_of(const Members& members) {
  std::set<std::string> uuids;
  for (const GroupMember& member : members) uuids.insert(member.uuid);
  return uuids;
}

bool no_uuid_twice(const Members& members) {
  return uuids_of(members).size() == members.size();
}

/// A snapshot that says nothing of its moment can be compared with itself only.
bool is_dated(const TakenAt& taken) {
  return taken.moment.seconds != 0 && !taken.moment.name.empty();
}

/// Splits by the snapshot at one depth.
std::vector<Members> split_by_moment(Members members, std::size_t depth) {
  // By name; what has none, or no date, by the device.
  std::map<std::pair<std::string, std::uint64_t>, Members> by_name;
  for (GroupMember& member : members) {
    const TakenAt& taken = member.taken.at(depth);
    const std::uint64_t device = is_dated(taken) ? 0 : taken.device;
    by_name[{taken.moment.name, device}].push_back(std::move(member));
  }
  const auto time_of = [depth](const GroupMember& member) {
    const Moment& moment = member.taken.at(depth).moment;
    return std::pair(moment.seconds, moment.nanoseconds);
  };
  std::vector<Members> result;
  const auto split_exactly = [&](const Members& run) {
    for (std::size_t i = 0; i < run.size(); ++i) {
      if (i == 0 || time_of(run[i]) != time_of(run[i - 1])) result.emplace_back();
      result.back().push_back(run[i]);
    }
  };
  for (auto& [name, some] : by_name) {
    std::stable_sort(some.begin(), some.end(),
                     [&](const auto& a, const auto& b) { return time_of(a) < time_of(b); });
    Members run;
    const auto end_run = [&] {
      if (run.empty()) return;
      // A chain of snapshots, each near the next, does not tell which of them belong together.
      const bool near =
          time_of(run.back()).first - time_of(run.front()).first <= kSameMomentSeconds;
      if (near) {
        result.push_back(run);
      } else {
        split_exactly(run);
      }
      run.clear();
    };
    for (const GroupMember& member : some) {
      if (!run.empty() && time_of(member).first - time_of(run.back()).first > kSameMomentSeconds) {
        end_run();
      }
      run.push_back(member);
    }
    end_run();
  }
  return result;
}

std::vector<Members> split_by_moments(const Members& members) {
  std::map<std::size_t, Members> by_depth;
  for (const GroupMember& member : members) by_depth[member.taken.size()].push_back(member);
  std::vector<Members> result;
  for (auto& [depth, some] : by_depth) {
    std::vector<Members> parts{std::move(some)};
    for (std::size_t i = 0; i < depth; ++i) {
      std::vector<Members> finer;
      for (Members& part : parts) {
        for (Members& split : split_by_moment(std::move(part), i)) {
          finer.push_back(std::move(split));
        }
      }
      parts = std::move(finer);
    }
    for (Members& part : parts) result.push_back(std::move(part));
  }
  return result;
}

/// Tells apart copies at one moment.
class Copies {
 public:
  explicit Copies(const Members& all) : whole_(uuids_of(all).size()) {}

  /// @param depth how many of the outermost places they share
  /// @return sets that are not split any further; complete ones come into complete()
  std::vector<Members> split(const Members& members, std::size_t depth) {
    if (no_uuid_twice(members)) return taken_if_complete({members});
    std::map<std::string, Members> by_place;
    std::vector<Members> left;
    for (const GroupMember& member : members) {
      if (member.places.size() > depth) {
        by_place[member.places[depth]].push_back(member);
      } else {
        left.push_back({member});
      }
    }
    for (const auto& [place, some] : by_place) {
      for (Members& set : split(some, depth + 1)) left.push_back(std::move(set));
    }
    left = joined(std::move(left));
    if (left.size() > 1) left = joined_by_time(std::move(left));
    return taken_if_complete(std::move(left));
  }

  std::vector<Members>& complete() { return complete_; }

 private:
  /// One set of all, where no UUID comes twice in it.
  static std::vector<Members> joined(std::vector<Members> sets) {
    Members all;
    for (const Members& set : sets) all.insert(all.end(), set.begin(), set.end());
    if (all.empty()) return {};
    if (!no_uuid_twice(all)) return sets;
    return {std::move(all)};
  }

  /// Several snapshots of one name within a few seconds: those of the very same time belong
  /// together.
  static std::vector<Members> joined_by_time(std::vector<Members> sets) {
    using Times = std::vector<std::tuple<std::string, std::uint32_t, std::uint32_t>>;
    const auto times_of = [](const GroupMember& member) {
      Times times;
      for (const TakenAt& taken : member.taken) {
        if (!is_dated(taken)) return Times{};
        times.emplace_back(taken.moment.name, taken.moment.seconds, taken.moment.nanoseconds);
      }
      return times;
    };
    std::map<Times, std::vector<Members>> by_times;
    std::vector<Members> result;
    for (Members& set : sets) {
      const Times times = times_of(set.front());
      const bool one_time = std::all_of(set.begin(), set.end(), [&](const GroupMember& member) {
        return times_of(member) == times;
      });
      if (one_time && !times.empty()) {
        by_times[times].push_back(std::move(set));
      } else {
        result.push_back(std::move(set));
      }
    }
    for (auto& [times, some] : by_times) {
      for (Members& set : joined(std::move(some))) result.push_back(std::move(set));
    }
    return result;
  }

  std::vector<Members> taken_if_complete(std::vector<Members> sets) {
    std::vector<Members> left;
    for (Members& set : sets) (set.size() == whole_ ? complete_ : left).push_back(std::move(set));
    return left;
  }

  std::size_t whole_;
  std::vector<Members> complete_;
};

}  // namespace

std::vector<Instance> split_instances(const std::vector<GroupMember>& members) {
  std::vector<Instance> instances;
  for (const Members& part : split_by_moments(members)) {
    Copies copies(part);
    std::vector<Members> sets = copies.split(part, 0);
    for (Members& set : copies.complete()) sets.push_back(std::move(set));
    const bool among_copies = sets.size() > 1;
    for (Members& set : sets) {
      // Ids grow in the order in which devices were found, and names depend on that order.
      std::sort(set.begin(), set.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
      instances.push_back({std::move(set), among_copies});
    }
  }
  std::sort(instances.begin(), instances.end(), [](const Instance& a, const Instance& b) {
    return a.members.front().id < b.members.front().id;
  });
  return instances;
}

bool may_be_of_one_moment(const std::vector<TakenAt>& a, const std::vector<TakenAt>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    if (x.device == y.device) return true;
    if (!is_dated(x) || !is_dated(y) || x.moment.name != y.moment.name) return false;
    const auto [earlier, later] = std::minmax(x.moment.seconds, y.moment.seconds);
    return later - earlier <= kSameMomentSeconds;
  });
}

TimeSpan time_span(const std::vector<GroupMember>& members) {
  std::map<std::size_t, TimeSpan> by_depth;
  TimeSpan widest;
  for (const GroupMember& member : members) {
    for (std::size_t depth = 0; depth < member.taken.size(); ++depth) {
      const std::uint32_t seconds = member.taken[depth].moment.seconds;
      if (seconds == 0) continue;
      TimeSpan& span = by_depth.try_emplace(depth, TimeSpan{seconds, seconds}).first->second;
      span.earliest = std::min(span.earliest, seconds);
      span.latest = std::max(span.latest, seconds);
      if (span.seconds() > widest.seconds()) widest = span;
    }
  }
  return widest;
}

std::size_t shared_places(const GroupMember& a, const GroupMember& b) {
  const auto [x, y] =
      std::mismatch(a.places.begin(), a.places.end(), b.places.begin(), b.places.end());
  return static_cast<std::size_t>(x - a.places.begin());
}

}  // namespace peelfs
