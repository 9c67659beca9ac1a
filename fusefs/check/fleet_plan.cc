#include "check/fleet_plan.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>

#include "mount/process.h"
#include "peelfs/error.h"

namespace peelfs::check {
namespace {

/// Sets of sources: which of them belong together.
class Together {
 public:
  explicit Together(std::size_t count) : parents_(count) {
    std::iota(parents_.begin(), parents_.end(), std::size_t{0});
  }
  std::size_t find(std::size_t one) {
    while (parents_[one] != one) one = parents_[one] = parents_[parents_[one]];
    return one;
  }
  void join(std::size_t one, std::size_t other) { parents_[find(other)] = find(one); }

 private:
  std::vector<std::size_t> parents_;
};

/// What may stand in the way of a filesystem that nobody sees: a branch that ends here.
bool hides_something(const Node& node) {
  if (!node.trouble || node.component || !node.part_of.empty()) return false;
  return node.trouble->state != Trouble::note;
}

/// Linux' filesystems, of a GPT and of an MBR. What is in them is known, or lost; others may well
/// hold what nobody knows.
bool promises_filesystem(const std::string& parttype) {
  return parttype == "0x83" || parttype == "0fc63daf-8483-4772-8e79-3d69d8477de4";
}

class Planner {
 public:
  Planner(const Peeling& peeling, const PlanRequest& request)
      : request_(request),
        sources_(peeling.sources()),
        catalog_(peeling.catalog()),
        tree_(catalog_->tree()),
        together_(sources_.size()) {
    for (std::size_t i = 0; i < sources_.size(); ++i) by_path_.emplace(sources_[i].path, i);
  }

  Plan make() {
    find_sources();
    find_relied_on();
    find_named();
    if (request_.with_outside) find_outside();
    for (const std::uint64_t root : tree_.roots) visit(root, {});
    if (!named_.empty() && std::ranges::all_of(plan_.targets, &Target::only_outside)) {
      throw Error(Fault::usage, "there is no filesystem in what is named behind --")
          .found(request_.names.front())
          .advice("'peelfs ls' shows what there is");
    }
    find_outer_targets();
    make_units();
    return std::move(plan_);
  }

 private:
  /// Which sources each device takes its bytes from, and which of those are used as one.
  void find_sources() {
    for (const auto& [id, node] : tree_.nodes) sources_of(id);
    std::map<std::uint64_t, std::size_t> groups;
    for (const auto& [id, node] : tree_.nodes) {
      const std::set<std::size_t>& own = from_.at(id);
      if (own.empty()) continue;
      for (const std::size_t one : own) together_.join(*own.begin(), one);
      if (node->group == 0) continue;
      const auto [known, first] = groups.emplace(node->group, *own.begin());
      if (!first) together_.join(known->second, *own.begin());
    }
  }

  /// Backing files that were named as sources, too, and by which other source they are used.
  void find_relied_on() {
    for (const auto& [id, node] : tree_.nodes) {
      for (const Part& part : node->parts) {
        if (part.file == nullptr) continue;
        for (std::size_t i = 0; i < sources_.size(); ++i) {
          const std::set<std::size_t>& users = from_.at(id);
          if (sources_[i].file->id() != part.file->id()) continue;
          if (!users.empty() && !users.contains(i)) relied_on_.emplace(i, *users.begin());
        }
      }
    }
  }

  const std::set<std::size_t>& sources_of(std::uint64_t id) {
    const auto [at, fresh] = from_.try_emplace(id);
    if (!fresh) return at->second;
    const Node& node = tree_.at(id);
    std::set<std::size_t> found;
    if (node.parents.empty()) {
      const auto source = by_path_.find(node.source_path);
      if (source != by_path_.end()) found.insert(source->second);
    }
    for (const std::uint64_t parent : node.parents) {
      const std::set<std::size_t>& theirs = sources_of(parent);
      found.insert(theirs.begin(), theirs.end());
    }
    return from_[id] = std::move(found);
  }

  void find_named() {
    for (const std::string& name : request_.names) {
      const Catalog::Entry* const entry = catalog_->find(name);
      if (entry == nullptr) {
        throw Error(Fault::usage, "there is no device '" + name + "'")
            .found(Peeling::names_text(*catalog_))
            .advice("'peelfs ls' shows them as a tree");
      }
      named_.insert(entry->node->id);
    }
  }

  std::set<std::uint64_t> ancestors_of(const std::set<std::uint64_t>& devices) const {
    std::set<std::uint64_t> outer;
    std::vector<std::uint64_t> next(devices.begin(), devices.end());
    while (!next.empty()) {
      const Node& node = tree_.at(next.back());
      next.pop_back();
      for (const std::uint64_t parent : node.parents) {
        if (outer.insert(parent).second) next.push_back(parent);
      }
    }
    return outer;
  }

  void find_outside() {
    outside_ = ancestors_of(named_);
    if (!request_.only_due) return;
    for (const auto& [id, node] : tree_.nodes) {
      if (!node->children.empty()) outside_.insert(id);
    }
  }

  /// Where a device is on the way from a source down.
  struct Way {
    bool in_snapshot = false;
    bool is_named = false;  ///< it, or what it lies in
    unsigned depth = 0;
  };

  void visit(std::uint64_t id, Way way) {
    const Node& node = tree_.at(id);
    way.in_snapshot = way.in_snapshot || node.kind == "snapshot";
    way.is_named = way.is_named || named_.contains(id);
    // One that lies on several devices is named with any of them.
    if (!seen_.insert(id).second && !(way.is_named && !considered_.contains(id))) return;
    consider(node, way);
    ++way.depth;
    for (const std::uint64_t child : node.children) visit(child, way);
  }

  void consider(const Node& node, const Way& way) {
    const std::string& name = catalog_->name_of(node.id);
    if (node.hidden && !hides_something(node)) return;
    if (node.component || !node.part_of.empty() || taken_.contains(node.id)) return;
    const bool is_asked_for = named_.empty() || way.is_named;
    if (!is_asked_for && !outside_.contains(node.id)) return;
    considered_.insert(node.id);
    const Checker* const checker = checker_of(node.identity.type);
    const bool is_container = !node.children.empty() && checker == nullptr;
    if (is_container && !hides_something(node)) return;
    if (!is_asked_for && checker == nullptr) return;
    if (way.in_snapshot && named_.empty()) {
      if (checker != nullptr) ++plan_.in_snapshots;
      return;
    }
    Target target;
    target.device = name.empty() ? node.source_path : name;
    target.place = place_of(tree_, node);
    target.fstype = node.identity.type.empty() ? node.format : node.identity.type;
    target.label = node.identity.label;
    target.size = node.device->size();
    target.depth = way.depth;
    target.in_snapshot = way.in_snapshot;
    target.only_outside = !is_asked_for;
    target.uuid = node.identity.uuid;
    std::set<std::size_t> own = from_.at(node.id);
    devices_.push_back({node.id});
    if (skip_busy(target, own)) {
      take(target, own);
      return;
    }
    if (checker == nullptr) {
      target.verdict = without_checker(node);
      take(target, own);
      return;
    }
    add_relatives(node, target, own);
    if (target.verdict.state != State::skipped) choose(node, *checker, target, own);
    take(target, own);
  }

  static Verdict without_checker(const Node& node) {
    if (hides_something(node)) return {State::skipped, text_of(*node.trouble)};
    const std::string& type = node.identity.type;
    if (is_never_checked(type)) return {State::listed, ""};
    if (!type.empty() || !node.format.empty()) return {State::listed, "no checker is known for it"};
    if (node.device->size() == 0) return {State::skipped, "it is empty: 0 bytes"};
    if (const std::string lost = lost_filesystem(*node.device); !lost.empty()) {
      return {State::errors, lost};
    }
    if (promises_filesystem(node.parttype)) {
      return {State::skipped,
              "nothing known is on it, and its partition type is that of a filesystem"};
    }
    return {State::listed, "nothing known is on it"};
  }

  void add_relatives(const Node& node, Target& target, std::set<std::size_t>& own) {
    try {
      const jobs::Relatives relatives =
          jobs::relatives_of(*catalog_, *catalog_->find(catalog_->name_of(node.id)));
      target.alone = relatives.alone;
      devices_.back().insert(relatives.devices.begin(), relatives.devices.end());
      for (const std::uint64_t id : relatives.devices) {
        taken_.insert(id);
        own.insert(from_.at(id).begin(), from_.at(id).end());
        if (id == node.id) continue;
        target.others.push_back(catalog_->name_of(id));
        const auto& trouble = tree_.at(id).trouble;
        if (trouble && cannot_be_read(trouble->state)) {
          target.verdict = {State::skipped, target.others.back() + ": " + text_of(*trouble)};
        }
      }
      if (!relatives.missing.empty()) {
        target.verdict = {State::skipped, relatives.what + ", and " + relatives.missing};
      }
    } catch (const Error& error) {
      target.verdict = {State::skipped, error.what()};
    }
  }

  /// What a running guest writes cannot be judged.
  bool skip_busy(Target& target, const std::set<std::size_t>& own) const {
    const auto busy =
        std::ranges::find_if(own, [&](std::size_t one) { return !sources_[one].writer.empty(); });
    if (busy == own.end()) return false;
    target.busy = true;
    target.verdict = {State::skipped, "in use: " + sources_[*busy].path + " is written by " +
                                          sources_[*busy].writer};
    return true;
  }

  /// Whether it is checked, by which program, or why not.
  void choose(const Node& node, const Checker& checker, Target& target,
              const std::set<std::size_t>& own) {
    if (skip_busy(target, own)) return;
    // Damage inside of the filesystem is what the checker is for.
    if (node.trouble && cannot_be_read(node.trouble->state)) {
      target.verdict = {State::skipped, text_of(*node.trouble)};
      return;
    }
    target.condition = condition_of(node.identity.type, *node.device, request_.now);
    if (request_.only_due && target.condition.due.empty() && !target.condition.needs_replay &&
        !outside_.contains(node.id)) {
      target.verdict = {State::listed, target.condition.tells
                                           ? "no check is due"
                                           : "it does not say when a check is due"};
      return;
    }
    std::string refused;
    const auto program = find_program(std::string(checker.program), &refused);
    if (!program) {
      target.verdict = {State::skipped, std::string(checker.program) +
                                            " is not installed (package " +
                                            std::string(checker.package) + ")"};
      if (!refused.empty()) target.verdict.why = refused;
      return;
    }
    target.checker = &checker;
    target.program = *program;
    // That a journal is to be replayed is said when it was.
    if (node.trouble && !(target.is_replayed() && node.trouble->state == Trouble::note)) {
      target.remarks.push_back(text_of(*node.trouble));
    } else if (!target.condition.due.empty() && !target.is_replayed()) {
      target.remarks.push_back("a check was due: " + target.condition.due);
    }
    constexpr std::uint64_t kAtLeast = 32U << 20U;
    target.memory = kAtLeast + (target.size >> 20U) * checker.memory_per_mib;
  }

  void take(Target& target, const std::set<std::size_t>& own) {
    for (const std::size_t one : own) {
      const auto by = relied_on_.find(one);
      if (by != relied_on_.end()) target.relied_on_by = sources_[by->second].path;
      together_.join(*own.begin(), one);
      target.sources.push_back(sources_[one].path);
    }
    first_source_.push_back(own.empty() ? std::nullopt : std::optional(*own.begin()));
    plan_.targets.push_back(std::move(target));
  }

  void find_outer_targets() {
    std::map<std::uint64_t, std::size_t> targets;
    for (std::size_t i = 0; i < devices_.size(); ++i) {
      for (const std::uint64_t id : devices_[i]) targets.emplace(id, i);
    }
    for (std::size_t number = 0; number < devices_.size(); ++number) {
      std::set<std::size_t> within;
      for (const std::uint64_t one : ancestors_of(devices_[number])) {
        const auto found = targets.find(one);
        if (found != targets.end()) {
          if (found->second != number) within.insert(found->second);
        } else if (checker_of(tree_.at(one).identity.type) != nullptr) {
          plan_.targets[number].unchecked_outside = catalog_->name_of(one);
        }
      }
      plan_.targets[number].within.assign(within.begin(), within.end());
    }
  }

  void make_units() {
    std::map<std::size_t, Unit> units;
    for (std::size_t i = 0; i < plan_.targets.size(); ++i) {
      const Target& target = plan_.targets[i];
      if (target.checker == nullptr || !first_source_[i]) continue;
      Unit& unit = units[together_.find(*first_source_[i])];
      unit.targets.push_back(i);
      unit.needs_overlay = unit.needs_overlay || target.is_written();
    }
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      const auto unit = units.find(together_.find(i));
      if (unit != units.end()) unit->second.sources.push_back(i);
    }
    for (const auto& [id, node] : tree_.nodes) {
      const std::set<std::size_t>& own = from_.at(id);
      if (own.empty()) continue;
      const auto unit = units.find(together_.find(*own.begin()));
      if (unit == units.end()) continue;
      for (const Part& part : node->parts) {
        if (part.file != nullptr) unit->second.references.push_back(part.name);
      }
    }
    const auto heaviest = [&](const Unit& unit) {
      std::uint64_t most = 0;
      for (const std::size_t target : unit.targets) {
        most = std::max(most, plan_.targets[target].memory);
      }
      return most;
    };
    for (auto& [root, unit] : units) plan_.units.push_back(std::move(unit));
    std::ranges::stable_sort(
        plan_.units, [&](const Unit& a, const Unit& b) { return heaviest(a) > heaviest(b); });
  }

  const PlanRequest& request_;
  const std::vector<Source>& sources_;
  const std::shared_ptr<const Catalog> catalog_;
  const Tree& tree_;
  Together together_;
  std::map<std::string, std::size_t> by_path_;
  std::map<std::uint64_t, std::set<std::size_t>> from_;
  std::set<std::uint64_t> named_;
  std::map<std::size_t, std::size_t> relied_on_;  ///< sources, see find_relied_on()
  std::set<std::uint64_t> outside_;               ///< see PlanRequest::with_outside
  std::set<std::uint64_t> seen_, considered_;
  std::vector<std::set<std::uint64_t>> devices_;  ///< of each target
  /// Devices whose filesystem is a target already.
  std::set<std::uint64_t> taken_;
  std::vector<std::optional<std::size_t>> first_source_;  ///< of each target
  Plan plan_;
};

}  // namespace

bool cannot_be_read(Trouble::State state) {
  return state == Trouble::missing || state == Trouble::degraded || state == Trouble::denied ||
         state == Trouble::io || state == Trouble::locked;
}

std::string place_of(const Tree& tree, const Node& node) {
  std::string place;
  for (const Node* one = &node;;) {
    std::string own;
    if (one->parents.empty()) {
      own = one->source_path;
    } else {
      // Copies of one volume are told apart by their order.
      const Node& parent = tree.at(one->parents.front());
      const auto at = std::ranges::find(parent.children, one->id);
      own = std::to_string(at - parent.children.begin()) + ":" + one->name;
    }
    place.insert(0, own.append(1, '\0'));
    if (one->parents.empty()) return place;
    one = &tree.at(one->parents.front());
  }
}

Plan make_plan(const Peeling& peeling, const PlanRequest& request) {
  return Planner(peeling, request).make();
}

}  // namespace peelfs::check
