#include "check/repair.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "check/host_order.h"
#include "jobs/workplace.h"
#include "overlay/cover.h"
#include "peelfs/error.h"

namespace peelfs::check {
namespace {

/// A directory of overlays, which goes with it unless it is released.
class Folder {
 public:
  explicit Folder(std::string path) : path_(std::move(path)) {}
  Folder(Folder&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  Folder& operator=(Folder&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~Folder() { remove(); }

  const std::string& path() const { return path_; }
  std::string release() { return std::exchange(path_, ""); }
  void remove() noexcept {
    if (path_.empty()) return;
    try {
      jobs::remove_overlays(path_);
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): what cannot be removed stays
    }
    path_.clear();
  }

 private:
  std::string path_;
};

/// A unit that is being repaired.
struct Attempt {
  const Unit* unit = nullptr;
  std::set<std::size_t> wanted;  ///< targets to be repaired or replayed
  Folder folder{""};
  Job job;
};

class Repairing {
 public:
  Repairing(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
            std::vector<Outcome>& outcomes, jobs::Spawner& spawner, const FleetOptions& options,
            FleetObserver& observer, const RepairOptions& how)
      : peeling_(peeling),
        request_(request),
        plan_(plan),
        outcomes_(outcomes),
        first_(outcomes),
        spawner_(spawner),
        options_(options),
        observer_(observer),
        how_(how) {}

  std::vector<Repair> run() {
    std::vector<Attempt> attempts;
    for (const Unit& unit : plan_.units) {
      Attempt attempt;
      attempt.unit = &unit;
      for (const std::size_t target : unit.targets) {
        const std::string why = why_not(target);
        if (why.empty() && is_wanted(target)) attempt.wanted.insert(target);
        if (!why.empty()) give_up(target, why);
      }
      give_up_what_lies_in_damage(attempt);
      if (attempt.wanted.empty() || !may_be_written(attempt)) continue;
      attempts.push_back(std::move(attempt));
    }
    while (!attempts.empty() && !is_cancelled()) attempts = one_round(std::move(attempts));
    for (const Attempt& attempt : attempts) {
      for (const std::size_t target : attempt.wanted) {
        give_up(target, outcomes_[target].is_written
                            ? "the run was ended when its repair had begun; check it again"
                            : "the run was ended");
      }
    }
    return std::move(repairs_);
  }

 private:
  bool is_cancelled() const { return options_.cancelled && options_.cancelled(); }

  bool is_damaged(std::size_t target) const {
    return first_[target].verdict.state == State::errors;
  }

  bool is_wanted(std::size_t target) const {
    const Checker* const checker = plan_.targets[target].checker;
    if (checker == nullptr) return false;
    if (plan_.targets[target].only_outside) return false;
    if (is_damaged(target)) return !checker->repair.empty();
    return first_[target].verdict.state == State::replayed;
  }

  /// Why it must not be repaired, whatever is wrong with it; empty: nothing speaks against it.
  std::string why_not(std::size_t number) const {
    const Target& target = plan_.targets[number];
    if (target.in_snapshot) return "a snapshot within an image cannot be written";
    if (!target.relied_on_by.empty()) {
      return target.relied_on_by + " is based on it, and would change with it";
    }
    return "";
  }

  void give_up(std::size_t target, const std::string& why) {
    Verdict& verdict = outcomes_[target].verdict;
    verdict = first_[target].verdict;
    if (!is_damaged(target)) return;  // the guest replays its journal at boot, as before
    verdict.why += (verdict.why.empty() ? "" : "; ") + std::string("not repaired: ") + why;
  }

  /// What lies in a filesystem that stays damaged must not be written: its blocks may belong to
  /// something else.
  void give_up_what_lies_in_damage(Attempt& attempt) {
    for (bool again = true; std::exchange(again, false);) {
      for (const std::size_t target : std::set<std::size_t>(attempt.wanted)) {
        const std::string why = why_not_within(attempt, plan_.targets[target]);
        if (why.empty()) continue;
        give_up(target, "it lies within " + why);
        attempt.wanted.erase(target);
        again = true;
      }
    }
  }

  /// The device within which it must not be written, and why; empty: it may be.
  std::string why_not_within(const Attempt& attempt, const Target& target) const {
    for (const std::size_t outer : target.within) {
      if (may_be_written_into(attempt, outer)) continue;
      const Target& one = plan_.targets[outer];
      const State state = first_[outer].verdict.state;
      return one.device + ", which " +
             (state == State::errors     ? "is damaged and not repaired"
              : state == State::replayed ? "has a journal that must be replayed first"
                                         : "could not be checked") +
             (one.only_outside ? "; name that, too" : "");
    }
    if (target.unchecked_outside.empty()) return "";
    return target.unchecked_outside + ", which is not checked";
  }

  bool may_be_written_into(const Attempt& attempt, std::size_t outer) const {
    switch (first_[outer].verdict.state) {
      case State::clean:
        return true;
      case State::errors:
      case State::replayed:
        return attempt.wanted.contains(outer);
      default:
        return false;
    }
  }

  bool may_be_written(const Attempt& attempt) {
    if (!how_.cannot_be_written) return true;
    const std::string why =
        how_.cannot_be_written(*attempt.unit, specs_of(peeling_, request_, *attempt.unit));
    for (const std::size_t target : attempt.wanted) {
      if (!why.empty()) give_up(target, why);
    }
    return why.empty();
  }

  Job repair_job(Attempt& attempt) const {
    Job job;
    job.units = {attempt.unit};
    job.access = how_.in_place ? Access::in_place : Access::overlay;
    job.overlays = attempt.folder.path();
    for (const std::size_t target : attempt.wanted) {
      if (plan_.targets[target].is_replayed()) job.alone.push_back({target, Task::replay});
      if (is_damaged(target)) job.alone.push_back({target, Task::repair});
    }
    std::ranges::stable_sort(job.alone, {},
                             [&](const Step& step) { return plan_.targets[step.target].depth; });
    return job;
  }

  /// All that had a verdict before, but for what the first check replayed and is not wanted.
  Job second_check(const Attempt& attempt) const {
    Job job = attempt.job;
    job.alone.clear();
    job.after_repair = true;
    bool opens_for_writing = false;
    for (const std::size_t target : attempt.unit->targets) {
      const State state = first_[target].verdict.state;
      const bool had_verdict = state == State::clean || state == State::errors;
      const bool same = had_verdict && !first_[target].was_replayed;
      if (!attempt.wanted.contains(target) && !same) continue;
      job.checks.push_back(target);
      opens_for_writing = opens_for_writing || plan_.targets[target].opens_for_writing();
    }
    if (how_.in_place) {
      job.access = opens_for_writing ? Access::thrown_away : Access::read_only;
    } else {
      job.access = opens_for_writing ? Access::overlay : Access::through;
    }
    return job;
  }

  bool make_folder(Attempt& attempt) {
    if (how_.in_place) return true;
    try {
      attempt.folder = Folder(how_.make_directory(specs_of(peeling_, request_, *attempt.unit)));
      return true;
    } catch (const Error& error) {
      for (const std::size_t target : attempt.wanted) give_up(target, error.what());
      return false;
    }
  }

  std::vector<Attempt> one_round(std::vector<Attempt> attempts) {
    std::vector<Job> jobs;
    std::erase_if(attempts, [&](Attempt& attempt) { return !make_folder(attempt); });
    for (Attempt& attempt : attempts) {
      attempt.job = repair_job(attempt);
      jobs.push_back(attempt.job);
    }
    const std::vector<Outcome> repaired = run(std::move(jobs), "repaired", true);
    if (is_cancelled()) return attempts;
    std::vector<Job> checks;
    for (const Attempt& attempt : attempts) {
      if (how_.in_place || is_done(attempt, repaired)) checks.push_back(second_check(attempt));
    }
    const std::vector<Outcome> checked = run(std::move(checks), "checked again", false);
    if (is_cancelled()) return attempts;
    std::vector<Attempt> again;
    for (Attempt& attempt : attempts) settle(std::move(attempt), repaired, checked, again);
    return again;
  }

  /// @param is_writing they do not only check
  std::vector<Outcome> run(std::vector<Job> jobs, std::string_view what, bool is_writing) {
    if (jobs.empty()) return std::vector<Outcome>(plan_.targets.size());
    std::set<std::size_t> targets;
    for (const Job& job : jobs) {
      targets.insert(job.checks.begin(), job.checks.end());
      for (const Step& step : job.alone) targets.insert(step.target);
    }
    observer_.begins(what, targets.size());
    std::vector<Outcome> outcomes =
        run_jobs(peeling_, request_, plan_, std::move(jobs), spawner_, options_, observer_);
    for (const std::size_t target : targets) {
      outcomes_[target].seconds += outcomes[target].seconds;
      if (outcomes[target].command.empty()) continue;
      // Whatever comes of it: it is not as it was.
      if (how_.in_place && is_writing) outcomes_[target].is_written = true;
      outcomes_[target].command = outcomes[target].command;
      outcomes_[target].exit_code = outcomes[target].exit_code;
    }
    return outcomes;
  }

  static bool is_good(const Outcome& outcome) {
    return outcome.verdict.state == State::repaired || outcome.verdict.state == State::replayed;
  }

  bool is_done(const Attempt& attempt, const std::vector<Outcome>& repaired) const {
    return std::ranges::all_of(attempt.wanted,
                               [&](std::size_t target) { return is_good(repaired[target]); });
  }

  /// What the attempt did not bring about, and why, by target.
  std::map<std::size_t, std::string> shortcomings(const Attempt& attempt,
                                                  const std::vector<Outcome>& repaired,
                                                  const std::vector<Outcome>& checked) const {
    std::map<std::size_t, std::string> found;
    // Of a job that was ended early, those that were not reached did nothing wrong.
    for (const std::size_t target : attempt.wanted) {
      const Outcome& outcome = repaired[target];
      if (is_good(outcome) || !outcome.was_reached) continue;
      found.emplace(target, outcome.verdict.why);
    }
    if (!found.empty() && !how_.in_place) return found;
    for (const std::size_t target : second_check(attempt).checks) {
      const Verdict& verdict = checked[target].verdict;
      if (attempt.wanted.contains(target)) {
        if (verdict.state != State::clean) {
          found.emplace(target, "the second check is not clean: " + verdict.why);
        }
      } else if (verdict.state != first_[target].verdict.state) {
        // Something else has suffered: nothing of this is to be trusted.
        for (const std::size_t one : attempt.wanted) {
          found.emplace(one,
                        plan_.targets[target].device + " would not be as it was: " + verdict.why);
        }
      }
    }
    return found;
  }

  void settle(Attempt attempt, const std::vector<Outcome>& repaired,
              const std::vector<Outcome>& checked, std::vector<Attempt>& again) {
    const auto failed = shortcomings(attempt, repaired, checked);
    for (const auto& [target, why] : failed) {
      give_up(target, why);
      attempt.wanted.erase(target);
    }
    for (const std::size_t target : attempt.wanted) {
      if (!repaired[target].left_out.empty()) {
        outcomes_[target].left_out = repaired[target].left_out;
      }
    }
    if (failed.empty() || how_.in_place) {
      Repair repair;
      repair.unit = attempt.unit;
      repair.overlays = attempt.folder.release();
      if (how_.accept_directory && !repair.overlays.empty()) {
        repair.overlays = how_.accept_directory(repair.overlays);
      }
      repair.seal = repair.overlays.empty() ? "" : seal_of(repair.overlays);
      for (const std::size_t target : attempt.wanted) {
        // What was not reached in place was not written either.
        if (!is_good(repaired[target])) continue;
        Outcome& outcome = outcomes_[target];
        outcome.verdict = is_damaged(target) ? Verdict{State::repaired, first_[target].verdict.why}
                                             : first_[target].verdict;
        repair.targets.push_back(target);
      }
      if (!repair.targets.empty()) repairs_.push_back(std::move(repair));
      return;
    }
    attempt.folder.remove();
    give_up_what_lies_in_damage(attempt);
    if (!attempt.wanted.empty()) again.push_back(std::move(attempt));
  }

  const Peeling& peeling_;
  const PeelRequest& request_;
  const Plan& plan_;
  std::vector<Outcome>& outcomes_;
  const std::vector<Outcome> first_;  ///< of the check before
  jobs::Spawner& spawner_;
  const FleetOptions& options_;
  FleetObserver& observer_;
  const RepairOptions& how_;
  std::vector<Repair> repairs_;
};

}  // namespace

std::string seal_of(const std::string& directory) {
  struct stat status {};
  const auto add = [&status](const std::string& path, std::string& text) {
    if (::lstat(path.c_str(), &status) != 0) return false;
    for (const std::int64_t number :
         {static_cast<std::int64_t>(status.st_dev), static_cast<std::int64_t>(status.st_ino),
          static_cast<std::int64_t>(status.st_mode), static_cast<std::int64_t>(status.st_size),
          static_cast<std::int64_t>(status.st_ctim.tv_sec),
          static_cast<std::int64_t>(status.st_ctim.tv_nsec)}) {
      text += std::to_string(number) + " ";
    }
    return true;
  };
  std::string seal;
  if (!add(directory, seal) || !S_ISDIR(status.st_mode)) return "";
  try {
    for (const std::string& path : overlay::overlays_in(directory)) {
      seal += path + " ";
      if (!add(path, seal) || !S_ISREG(status.st_mode)) return "";
    }
  } catch (const Error&) {
    return "";
  }
  return seal;
}

std::vector<Repair> repair_all(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
                               std::vector<Outcome>& outcomes, jobs::Spawner& spawner,
                               const FleetOptions& options, FleetObserver& observer,
                               const RepairOptions& how) {
  return Repairing(peeling, request, plan, outcomes, spawner, options, observer, how).run();
}

}  // namespace peelfs::check
