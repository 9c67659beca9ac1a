#include "check/job.h"

#include <algorithm>
#include <utility>

namespace peelfs::check {
namespace {

/// Outer journals first: they say what is within.
void sort_replays(const Plan& plan, std::vector<Step>& steps) {
  std::ranges::stable_sort(steps, {},
                           [&](const Step& step) { return plan.targets[step.target].depth; });
}

Job checks_of(const Plan& plan, std::vector<const Unit*> units) {
  Job job;
  job.units = std::move(units);
  for (const Unit* const unit : job.units) {
    if (unit->needs_overlay) job.access = Access::thrown_away;
    for (const std::size_t target : unit->targets) {
      job.checks.push_back(target);
      if (plan.targets[target].is_replayed()) job.alone.push_back({target, Task::replay});
    }
  }
  sort_replays(plan, job.alone);
  return job;
}

}  // namespace

std::vector<Job> make_checks(const Plan& plan, unsigned at_once) {
  std::vector<Job> jobs;
  constexpr std::uint64_t kSmall = std::uint64_t{4} << 30U;  // bytes of filesystems
  constexpr std::size_t kMostSources = 16;
  std::vector<const Unit*> small;
  for (const Unit& unit : plan.units) {
    std::uint64_t size = 0;
    for (const std::size_t target : unit.targets) size += plan.targets[target].size;
    const bool is_small =
        !unit.needs_overlay && size <= kSmall && unit.sources.size() <= kMostSources / 2;
    if (is_small) {
      small.push_back(&unit);
    } else {
      jobs.push_back(checks_of(plan, {&unit}));
    }
  }
  const std::size_t parts = std::size_t{4} * at_once;
  const std::size_t in_each = std::clamp<std::size_t>(small.size() / parts, 1, kMostSources);
  std::vector<const Unit*> together;
  std::size_t sources = 0;
  for (const Unit* const unit : small) {
    if (together.size() == in_each || sources + unit->sources.size() > kMostSources) {
      jobs.push_back(checks_of(plan, std::exchange(together, {})));
      sources = 0;
    }
    together.push_back(unit);
    sources += unit->sources.size();
  }
  if (!together.empty()) jobs.push_back(checks_of(plan, std::move(together)));
  return jobs;
}

Unit all_of(const Job& job) {
  Unit all;
  for (const Unit* const unit : job.units) {
    all.sources.insert(all.sources.end(), unit->sources.begin(), unit->sources.end());
    all.targets.insert(all.targets.end(), unit->targets.begin(), unit->targets.end());
    all.references.insert(all.references.end(), unit->references.begin(), unit->references.end());
    all.needs_overlay = all.needs_overlay || unit->needs_overlay;
  }
  // As in the whole run, so that the order decides in the same way where it does.
  std::ranges::sort(all.sources);
  return all;
}

std::vector<Job> taken_apart(const Job& job) {
  std::vector<Job> parts;
  for (const Unit* const unit : job.units) {
    const auto is_elsewhere = [&](std::size_t target) {
      return std::ranges::find(unit->targets, target) == unit->targets.end();
    };
    Job part = job;
    part.units = {unit};
    std::erase_if(part.checks, is_elsewhere);
    std::erase_if(part.alone, [&](const Step& step) { return is_elsewhere(step.target); });
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace peelfs::check
