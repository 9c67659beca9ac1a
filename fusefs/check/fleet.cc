#include "check/fleet.h"

#include <poll.h>

#include <algorithm>
#include <deque>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "check/host_order.h"
#include "check/listener.h"
#include "check/mounted_devices.h"
#include "check/steps.h"
#include "check/unit_host.h"
#include "overlay/cover.h"
#include "peelfs/error.h"
#include "world/host_files.h"

namespace peelfs::check {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTick{100};
constexpr const char* kNotReached = "another filesystem beside it could not be repaired";

/// A job from the start of its mount to its end.
struct LiveJob {
  Job job;
  Unit unit;  ///< all of the job's, as one
  std::unique_ptr<UnitHost> host;
  HostReport report;
  bool is_mounted = false;
  bool is_ending = false;
  std::deque<Step> alone;  ///< still to be done
  std::deque<std::size_t> checks;
  std::size_t running = 0;
  bool is_changing = false;  ///< a step that must be alone is running
  /// Where a journal is replayed: the devices that there were before, see devices_in().
  std::optional<std::set<std::string>> before;
  bool is_compared = false;
};

/// A command under way.
struct LiveRun {
  Step step;
  LiveJob* job = nullptr;
  jobs::Run run;
  Listener listener;
};

class Fleet {
 public:
  Fleet(const Peeling& peeling, const PeelRequest& request, const Plan& plan, std::vector<Job> jobs,
        jobs::Spawner& spawner, const FleetOptions& options, FleetObserver& observer)
      : peeling_(peeling),
        request_(request),
        plan_(plan),
        spawner_(spawner),
        options_(options),
        observer_(observer),
        outcomes_(plan.targets.size()),
        began_(plan.targets.size()) {
    for (Job& job : jobs) waiting_.push_back(std::move(job));
    world::HostFiles opened = world::opened_host_files();
    world::add_what_mounts_show(opened);
    world_.mounted_from_originals = world::filesystems_on(opened);
    world_.originals = opened.files;
  }

  std::vector<Outcome> run() {
    while (!waiting_.empty() || !jobs_.empty()) {
      if (!is_cancelled_ && options_.cancelled && options_.cancelled()) cancel();
      start_what_fits();
      wait();
      observer_.tick();
    }
    return std::move(outcomes_);
  }

 private:
  // ---- what is started

  void start_what_fits() {
    while (!is_cancelled_ && busy() < options_.at_once) {
      if (!start_a_command() && !start_a_job()) break;
    }
  }

  std::size_t busy() const {
    const auto mounting = std::ranges::count_if(
        jobs_, [](const auto& job) { return !job->is_mounted && !job->is_ending; });
    return runs_.size() + static_cast<std::size_t>(mounting);
  }

  bool fits(std::size_t target) const {
    if (runs_.empty() || options_.memory == 0) return true;
    std::uint64_t taken = plan_.targets[target].memory;
    for (const auto& run : runs_) taken += plan_.targets[run->step.target].memory;
    return taken <= options_.memory;
  }

  /// What a job would do next; null: it has to wait, or is done.
  static std::optional<Step> next_step(const LiveJob& job) {
    if (!job.is_mounted || job.is_ending || job.is_changing) return std::nullopt;
    if (!job.alone.empty()) {
      return job.running > 0 ? std::nullopt : std::optional(job.alone.front());
    }
    if (job.checks.empty()) return std::nullopt;
    return Step{job.checks.front(), Task::check};
  }

  /// The heaviest one that fits, of all jobs that are mounted.
  bool start_a_command() {
    LiveJob* chosen = nullptr;
    Step best;
    for (const auto& job : jobs_) {
      const std::optional<Step> step = next_step(*job);
      if (!step || !fits(step->target)) continue;
      if (chosen != nullptr &&
          plan_.targets[step->target].memory <= plan_.targets[best.target].memory) {
        continue;
      }
      chosen = job.get();
      best = *step;
    }
    if (chosen == nullptr) return false;
    if (best.task == Task::check) {
      chosen->checks.pop_front();
    } else {
      chosen->alone.pop_front();
    }
    start(*chosen, best);
    return true;
  }

  void start(LiveJob& job, const Step& step) {
    const std::size_t number = step.target;
    const Target& target = plan_.targets[number];
    const auto at = std::ranges::find(job.unit.targets, number) - job.unit.targets.begin();
    const MountedDevice& device = job.report.devices.at(static_cast<std::size_t>(at));
    if (!began_[number]) began_[number] = Clock::now();
    if (device.name.empty()) {
      finish(job, step, {State::skipped, device.why});
      return;
    }
    jobs::Order order;
    const std::string path = job.report.mountpoint + "/" + device.name;
    order.words = command_line(target.program, words_of(*target.checker, step.task), path);
    order.world = world_;
    order.world.folder = job.report.world;
    order.world.mountpoint = job.report.mountpoint;
    order.world.devices = device.relatives;
    order.only_in_world = !target.alone;
    auto run = std::make_unique<LiveRun>();
    run->step = step;
    run->job = &job;
    run->listener = Listener(step.task == Task::replay ? nullptr : target.checker->percent);
    run->listener.progressed = [this, number](unsigned percent) {
      observer_.progressed(number, percent);
    };
    run->listener.said = [this, number](std::string_view line) { observer_.said(number, line); };
    try {
      protect_overlays(job, order.world);
      run->run = spawner_.start(order, options_.background);
    } catch (const Error& error) {
      finish(job, step, {State::failed, error.what()});
      return;
    }
    outcomes_[number].command = order.words;
    ++job.running;
    job.is_changing = step.task != Task::check;
    runs_.push_back(std::move(run));
    observer_.started(number, order.words);
  }

  /// A command writes an overlay by its device only.
  static void protect_overlays(const LiveJob& job, world::Plan& plan) {
    if (job.job.overlays.empty()) return;
    for (const std::string& path : overlay::overlays_in(job.job.overlays)) {
      for (world::Original& file : world::original_at(path)) {
        plan.originals.push_back(std::move(file));
      }
    }
  }

  bool start_a_job() {
    // Each mount is a process, and a lock on its images: no more than are soon worked on.
    if (waiting_.empty() || jobs_.size() >= std::size_t{2} * options_.at_once) return false;
    auto live = std::make_unique<LiveJob>();
    live->job = std::move(waiting_.front());
    waiting_.pop_front();
    const Job& job = live->job;
    live->unit = all_of(job);
    live->alone.assign(job.alone.begin(), job.alone.end());
    live->checks.assign(job.checks.begin(), job.checks.end());
    std::ranges::stable_sort(live->checks, [&](std::size_t a, std::size_t b) {
      return plan_.targets[a].memory > plan_.targets[b].memory;
    });
    try {
      live->host = std::make_unique<UnitHost>(
          host_order(peeling_, request_, plan_, job, live->unit, options_.background),
          descriptors());
    } catch (const Error& error) {
      for (const std::size_t target : targets_of(*live)) {
        set(target, {State::failed, error.what()});
      }
      return true;
    }
    jobs_.push_back(std::move(live));
    return true;
  }

  /// Those for which there is still something to do.
  static std::set<std::size_t> targets_of(const LiveJob& job) {
    std::set<std::size_t> targets(job.checks.begin(), job.checks.end());
    for (const Step& step : job.alone) targets.insert(step.target);
    return targets;
  }

  /// What a process that is started here must not keep.
  std::vector<int> descriptors() const {
    std::vector<int> all{spawner_.descriptor()};
    for (const auto& job : jobs_) all.push_back(job->host->control());
    for (const auto& run : runs_) {
      all.push_back(run->run.control());
      all.push_back(run->run.output());
    }
    std::erase_if(all, [](int fd) { return fd < 0; });
    return all;
  }

  // ---- what happens

  void wait() {
    std::vector<pollfd> watched;
    for (const auto& job : jobs_) watched.push_back({job->host->control(), POLLIN, 0});
    for (const auto& run : runs_) {
      watched.push_back({run->run.control(), POLLIN, 0});
      watched.push_back({run->run.output(), POLLIN, 0});
    }
    if (watched.empty()) return;
    if (::poll(watched.data(), watched.size(), static_cast<int>(kTick.count())) <= 0) return;
    const auto is_ready = [&](int fd) {
      return fd >= 0 && std::ranges::any_of(watched, [&](const pollfd& one) {
               return one.fd == fd && one.revents != 0;
             });
    };
    // Lists change below: what is looked at is chosen first.
    std::vector<LiveRun*> runs;
    for (const auto& run : runs_) runs.push_back(run.get());
    for (LiveRun* const run : runs) {
      if (is_ready(run->run.output())) run->listener.hear(run->run);
      if (is_ready(run->run.control())) end(*run);
    }
    std::vector<LiveJob*> mounts;
    for (const auto& job : jobs_) {
      if (is_ready(job->host->control())) mounts.push_back(job.get());
    }
    for (LiveJob* const job : mounts) hear(*job);
  }

  void end(LiveRun& run) {
    run.listener.hear_the_rest(run.run);
    LiveJob& job = *run.job;
    const Step step = run.step;
    Outcome& outcome = outcomes_[step.target];
    Verdict verdict;
    bool goes_on = false;
    try {
      const jobs::Ending ending = run.run.finish();
      outcome.exit_code = ending.code;
      verdict = judge_step(plan_.targets[step.target], step.task, outcome.was_replayed, ending.code,
                           run.listener.output());
      if (step.task == Task::replay) {
        outcome.was_replayed = ending.code == 0 || ending.code == 1;
        goes_on = outcome.was_replayed && targets_of(job).contains(step.target);
      }
    } catch (const Error& error) {
      verdict = {State::skipped, error.what()};
    }
    // A program takes what it could not read for damage, and a repair would make that true.
    if (const std::string failure = job.host->failure_of(names_of(job, step.target));
        !failure.empty()) {
      verdict = {State::failed, failure};
      goes_on = false;
    }
    --job.running;
    job.is_changing = false;
    std::erase_if(runs_, [&](const auto& one) { return one.get() == &run; });
    if (!goes_on) finish(job, step, std::move(verdict));
  }

  /// The devices of a target, in the mount of the job; of one on several, all that it could use.
  std::set<std::string> names_of(const LiveJob& job, std::size_t target) const {
    const auto at = std::ranges::find(job.unit.targets, target) - job.unit.targets.begin();
    const MountedDevice& device = job.report.devices.at(static_cast<std::size_t>(at));
    std::set<std::string> names{device.name};
    if (plan_.targets[target].others.empty()) return names;
    for (const world::ListedDevice& one : device.relatives) {
      names.insert(one.path.substr(one.path.rfind('/') + 1));
    }
    return names;
  }

  void hear(LiveJob& job) {
    if (job.is_mounted || job.is_ending) {
      gone(job);
      return;
    }
    job.report = job.host->report();
    if (job.report.failure.empty()) {
      job.is_mounted = true;
      job.is_compared = !job.alone.empty();
      if (job.is_compared) job.before = devices_in(job.report.mountpoint);
      return;
    }
    const std::set<std::size_t> targets = targets_of(job);
    job.alone.clear();
    job.checks.clear();
    if (job.job.units.size() > 1) {
      // One of them must be the reason. The others are not to suffer for it.
      for (Job& part : taken_apart(job.job)) waiting_.push_front(std::move(part));
    } else {
      for (const std::size_t target : targets) {
        outcomes_[target].is_busy = job.report.is_busy;
        set(target, {job.report.is_busy ? State::skipped : State::failed,
                     (job.report.is_busy ? "in use: " : "") + job.report.failure});
      }
    }
    gone(job);
  }

  /// The process of the job has ended, as it was told to or by itself.
  void gone(LiveJob& job) {
    const std::string failure = job.host->wait();
    if (!failure.empty()) observer_.warned(failure);
    std::set<std::size_t> lost = targets_of(job);
    for (const auto& run : runs_) {
      if (run->job == &job) lost.insert(run->step.target);
    }
    std::erase_if(runs_, [&](const auto& one) { return one->job == &job; });
    for (const std::size_t target : lost) {
      set(target, {State::failed, "its mount has ended before it was done with"});
    }
    std::erase_if(jobs_, [&](const auto& one) { return one.get() == &job; });
  }

  /// A target has its verdict: there is nothing more to do for it.
  void finish(LiveJob& job, const Step& step, Verdict verdict) {
    const std::size_t target = step.target;
    std::erase(job.checks, target);
    std::erase_if(job.alone, [&](const Step& one) { return one.target == target; });
    const bool is_done = verdict.state == State::repaired || verdict.state == State::replayed;
    set(target, std::move(verdict));
    if (step.task != Task::check && !is_done) stop_what_depends_on(job, target);
    if (job.running == 0 && job.checks.empty() && job.alone.empty() && !job.is_ending) {
      compare_devices(job);
      job.is_ending = true;
      job.host->end(false);
    }
  }

  /// What was written to an overlay until now is thrown away, and another job begins without this
  /// target. In place, only what lies within it is not written.
  void stop_what_depends_on(LiveJob& job, std::size_t failed) {
    for (const std::size_t other : targets_of(job)) {
      const auto& within = plan_.targets[other].within;
      const bool stops =
          job.job.access == Access::overlay ||
          (job.job.access == Access::in_place && std::ranges::find(within, failed) != within.end());
      if (!stops) continue;
      std::erase(job.checks, other);
      std::erase_if(job.alone, [&](const Step& one) { return one.target == other; });
      outcomes_[other].was_reached = false;
      set(other, {State::skipped, kNotReached});
    }
  }

  /// The plan was made before the journals were replayed and anything was repaired. An image file
  /// that is seen only since then was not checked, and one that is gone was in vain.
  void compare_devices(LiveJob& job) {
    if (!job.is_compared) return;
    const std::string text = difference(job.before, devices_in(job.report.mountpoint));
    if (text.empty()) return;
    for (const std::size_t target : job.unit.targets) {
      const bool changed =
          std::ranges::find(job.job.alone, target, &Step::target) != job.job.alone.end();
      if (changed) outcomes_[target].left_out = text;
    }
  }

  void set(std::size_t target, Verdict verdict) {
    Outcome& outcome = outcomes_[target];
    outcome.verdict = std::move(verdict);
    if (began_[target]) {
      outcome.seconds = std::chrono::duration<double>(Clock::now() - *began_[target]).count();
    }
    observer_.finished(target);
  }

  void cancel() {
    is_cancelled_ = true;
    std::set<std::size_t> ended;
    for (const Job& job : std::exchange(waiting_, {})) {
      ended.insert(job.checks.begin(), job.checks.end());
      for (const Step& step : job.alone) ended.insert(step.target);
    }
    for (const auto& run : runs_) {
      run->run.cancel();
      ended.insert(run->step.target);
    }
    runs_.clear();
    for (const auto& job : jobs_) {
      ended.merge(targets_of(*job));
      job->checks.clear();
      job->alone.clear();
      job->running = 0;
      job->is_ending = true;
      job->host->end(!job->is_mounted);
    }
    for (const std::size_t target : ended) set(target, {State::cancelled, ""});
  }

  const Peeling& peeling_;
  const PeelRequest& request_;
  const Plan& plan_;
  jobs::Spawner& spawner_;
  const FleetOptions& options_;
  FleetObserver& observer_;
  std::vector<Outcome> outcomes_;
  std::vector<std::optional<Clock::time_point>> began_;
  world::Plan world_;  ///< what is the same for all commands
  std::deque<Job> waiting_;
  std::vector<std::unique_ptr<LiveJob>> jobs_;
  std::vector<std::unique_ptr<LiveRun>> runs_;
  bool is_cancelled_ = false;
};

}  // namespace

std::vector<Outcome> run_jobs(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
                              std::vector<Job> jobs, jobs::Spawner& spawner,
                              const FleetOptions& options, FleetObserver& observer) {
  return Fleet(peeling, request, plan, std::move(jobs), spawner, options, observer).run();
}

std::vector<Outcome> check_all(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
                               jobs::Spawner& spawner, const FleetOptions& options,
                               FleetObserver& observer) {
  std::vector<Outcome> outcomes = run_jobs(
      peeling, request, plan, make_checks(plan, options.at_once), spawner, options, observer);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    if (plan.targets[i].checker == nullptr) outcomes[i].verdict = plan.targets[i].verdict;
  }
  return outcomes;
}

std::uint64_t usual_memory() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::uint64_t kib = 0;
  std::string unit;
  while (file >> name >> kib) {
    if (name == "MemAvailable:") return kib * 1024 / 4 * 3;
    std::getline(file, unit);
  }
  return 0;
}

}  // namespace peelfs::check
