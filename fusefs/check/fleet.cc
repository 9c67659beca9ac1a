#include "check/fleet.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "check/batches.h"
#include "check/mounted_devices.h"
#include "check/unit_host.h"
#include "peelfs/error.h"
#include "world/host_files.h"

namespace peelfs::check {
namespace {

using Clock = std::chrono::steady_clock;

/// As much of the beginning, and of the end, of the output as a verdict may need.
constexpr std::size_t kTail = std::size_t{64} << 10U;
constexpr std::chrono::milliseconds kTick{100};

/// A batch from the start of its mount to its end.
struct LiveUnit {
  Batch batch;
  Unit unit;  ///< all of the batch, as one
  std::unique_ptr<UnitHost> host;
  HostReport report;
  bool is_mounted = false;
  bool is_ending = false;
  /// Targets whose journals are still to be replayed, outer devices first, one after the other.
  std::deque<std::size_t> replays;
  std::deque<std::size_t> checks;
  std::size_t running = 0;
  bool is_replaying = false;
  /// Where a journal is replayed: the devices that there were before, see devices_in().
  std::optional<std::set<std::string>> before;
  bool is_compared = false;
};

/// A command under way.
struct LiveRun {
  std::size_t target = 0;
  LiveUnit* unit = nullptr;
  bool is_replay = false;
  jobs::Run run;
  std::string head, tail;  ///< of its output
  std::string line;        ///< that is not complete yet
};

class Fleet {
 public:
  Fleet(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
        jobs::Spawner& spawner, const FleetOptions& options, FleetObserver& observer)
      : peeling_(peeling),
        request_(request),
        plan_(plan),
        spawner_(spawner),
        options_(options),
        observer_(observer),
        outcomes_(plan.targets.size()),
        began_(plan.targets.size()) {
    for (std::size_t i = 0; i < outcomes_.size(); ++i) {
      outcomes_[i].verdict = plan.targets[i].verdict;
    }
    for (Batch& batch : make_batches(plan, options.at_once)) waiting_.push_back(std::move(batch));
    world::HostFiles opened = world::opened_host_files();
    world::add_what_mounts_show(opened);
    world_.mounted_from_originals = world::filesystems_on(opened);
    world_.originals = opened.files;
  }

  std::vector<Outcome> run() {
    while (!waiting_.empty() || !units_.empty()) {
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
      if (!start_a_command() && !start_a_unit()) break;
    }
  }

  std::size_t busy() const {
    const auto mounting = std::ranges::count_if(
        units_, [](const auto& unit) { return !unit->is_mounted && !unit->is_ending; });
    return runs_.size() + static_cast<std::size_t>(mounting);
  }

  bool fits(std::size_t target) const {
    if (runs_.empty() || options_.memory == 0) return true;
    std::uint64_t taken = plan_.targets[target].memory;
    for (const auto& run : runs_) taken += plan_.targets[run->target].memory;
    return taken <= options_.memory;
  }

  /// The heaviest one that fits, of all units that are mounted.
  bool start_a_command() {
    LiveUnit* chosen = nullptr;
    std::size_t best = 0;
    bool replay = false;
    for (const auto& unit : units_) {
      if (!unit->is_mounted || unit->is_ending) continue;
      // A replay changes what others would read: it has the unit for itself.
      if (unit->is_replaying || (!unit->replays.empty() && unit->running > 0)) continue;
      const bool is_replay = !unit->replays.empty();
      const std::deque<std::size_t>& from = is_replay ? unit->replays : unit->checks;
      if (from.empty() || !fits(from.front())) continue;
      if (chosen != nullptr && plan_.targets[from.front()].memory <= plan_.targets[best].memory) {
        continue;
      }
      chosen = unit.get();
      best = from.front();
      replay = is_replay;
    }
    if (chosen == nullptr) return false;
    (replay ? chosen->replays : chosen->checks).pop_front();
    start(*chosen, best, replay);
    return true;
  }

  void start(LiveUnit& unit, std::size_t number, bool replay) {
    const Target& target = plan_.targets[number];
    const auto at = std::ranges::find(unit.unit.targets, number) - unit.unit.targets.begin();
    const MountedDevice& device = unit.report.devices.at(static_cast<std::size_t>(at));
    if (!began_[number]) began_[number] = Clock::now();
    const auto refuse = [&](Verdict verdict) {
      std::erase(unit.checks, number);
      finish(unit, number, std::move(verdict));
    };
    if (device.name.empty()) {
      refuse({State::skipped, device.why});
      return;
    }
    jobs::Order order;
    const std::string path = unit.report.mountpoint + "/" + device.name;
    order.words =
        command_line(target.program, replay ? target.checker->replay : target.checker->check, path);
    order.world = world_;
    order.world.folder = unit.report.world;
    order.world.mountpoint = unit.report.mountpoint;
    order.world.devices = device.relatives;
    order.only_in_world = !target.alone;
    auto run = std::make_unique<LiveRun>();
    run->target = number;
    run->unit = &unit;
    run->is_replay = replay;
    try {
      run->run = spawner_.start(order, options_.background);
    } catch (const Error& error) {
      refuse({State::failed, error.what()});
      return;
    }
    outcomes_[number].command = order.words;
    ++unit.running;
    unit.is_replaying = replay;
    runs_.push_back(std::move(run));
    observer_.started(number, order.words);
  }

  bool start_a_unit() {
    // Each mount is a process, and a lock on its images: no more than are soon worked on.
    if (waiting_.empty() || units_.size() >= std::size_t{2} * options_.at_once) return false;
    auto live = std::make_unique<LiveUnit>();
    live->batch = std::move(waiting_.front());
    waiting_.pop_front();
    live->unit = all_of(live->batch);
    const Unit& unit = live->unit;
    for (const std::size_t target : unit.targets) {
      live->checks.push_back(target);
      if (plan_.targets[target].is_replayed()) live->replays.push_back(target);
    }
    const auto heavier = [&](std::size_t a, std::size_t b) {
      return plan_.targets[a].memory > plan_.targets[b].memory;
    };
    std::ranges::stable_sort(live->checks, heavier);
    std::ranges::stable_sort(live->replays, {},
                             [&](std::size_t one) { return plan_.targets[one].depth; });
    try {
      live->host = std::make_unique<UnitHost>(
          host_order(peeling_, request_, plan_, unit, options_.background), descriptors());
    } catch (const Error& error) {
      for (const std::size_t target : unit.targets) {
        finish(*live, target, {State::failed, error.what()});
      }
      return true;
    }
    units_.push_back(std::move(live));
    return true;
  }

  /// What a process that is started here must not keep.
  std::vector<int> descriptors() const {
    std::vector<int> all{spawner_.descriptor()};
    for (const auto& unit : units_) all.push_back(unit->host->control());
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
    for (const auto& unit : units_) watched.push_back({unit->host->control(), POLLIN, 0});
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
      if (is_ready(run->run.output())) hear(*run);
      if (is_ready(run->run.control())) end(*run);
    }
    std::vector<LiveUnit*> units;
    for (const auto& unit : units_) {
      if (is_ready(unit->host->control())) units.push_back(unit.get());
    }
    for (LiveUnit* const unit : units) hear(*unit);
  }

  /// @return whether there may be more to hear at once
  bool hear(LiveRun& run) {
    std::array<char, 16384> part{};
    constexpr int kPartsInOneTurn = 64;  // others wait to be heard
    for (int i = 0; i < kPartsInOneTurn; ++i) {
      const ssize_t got = ::read(run.run.output(), part.data(), part.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return false;
      if (got <= 0) {
        run.run.close_output();
        return false;
      }
      take(run, std::string_view(part.data(), static_cast<std::size_t>(got)));
    }
    return true;
  }

  /// Lines that only say how far it is are for nobody to read.
  void take(LiveRun& run, std::string_view text) {
    constexpr std::size_t kLongestLine = 4096;
    for (const char c : text) {
      run.line += c;
      if (c == '\n' || run.line.size() >= kLongestLine) take_line(run);
    }
  }

  void take_line(LiveRun& run) {
    const Checker& checker = *plan_.targets[run.target].checker;
    const std::string line = std::exchange(run.line, "");
    if (line.empty()) return;
    if (checker.percent != nullptr && !run.is_replay) {
      if (const auto percent = checker.percent(line)) {
        observer_.progressed(run.target, *percent);
        return;
      }
    }
    observer_.said(run.target, line);
    if (run.head.size() < kTail) {
      run.head += line;
      return;
    }
    run.tail += line;
    if (run.tail.size() > 2 * kTail) run.tail.erase(0, run.tail.size() - kTail);
  }

  void end(LiveRun& run) {
    constexpr int kMostTurns = 4096;
    for (int i = 0; i < kMostTurns && run.run.output() >= 0 && hear(run); ++i) {
    }
    take_line(run);
    LiveUnit& unit = *run.unit;
    const std::size_t target = run.target;
    Outcome& outcome = outcomes_[target];
    Verdict verdict;
    bool goes_on = false;
    try {
      const jobs::Ending ending = run.run.finish();
      outcome.exit_code = ending.code;
      if (run.is_replay) {
        goes_on = ending.code == 0 || ending.code == 1;
        outcome.was_replayed = goes_on;
        verdict = plan_.targets[target].checker->judge(ending.code, run.head + run.tail);
        verdict.why = "its journal could not be replayed: " + verdict.why;
      } else {
        verdict = plan_.targets[target].checker->judge(ending.code, run.head + run.tail);
        add_caveat(target, verdict);
        if (outcome.was_replayed && verdict.state == State::clean) {
          verdict = {State::replayed, "its journal had to be replayed first, as at boot"};
        } else if (outcome.was_replayed) {
          verdict.why = "after the replay of its journal: " + verdict.why;
        }
      }
    } catch (const Error& error) {
      verdict = {State::skipped, error.what()};
    }
    --unit.running;
    unit.is_replaying = false;
    std::erase_if(runs_, [&](const auto& one) { return one.get() == &run; });
    if (goes_on) return;
    std::erase(unit.checks, target);
    finish(unit, target, std::move(verdict));
  }

  void add_caveat(std::size_t target, Verdict& verdict) const {
    const std::string caveat(plan_.targets[target].checker->caveat);
    if (verdict.state != State::clean || caveat.empty()) return;
    verdict.why += (verdict.why.empty() ? "" : "; ") + caveat;
  }

  void hear(LiveUnit& unit) {
    if (unit.is_mounted || unit.is_ending) {
      gone(unit);
      return;
    }
    unit.report = unit.host->report();
    if (unit.report.failure.empty()) {
      unit.is_mounted = true;
      unit.is_compared = !unit.replays.empty();
      if (unit.is_compared) unit.before = devices_in(unit.report.mountpoint);
      return;
    }
    if (unit.batch.size() > 1) {
      // One of them must be the reason. The others are not to suffer for it.
      for (const Unit* const one : unit.batch) waiting_.push_front({one});
      unit.checks.clear();
      gone(unit);
      return;
    }
    for (const std::size_t target : unit.unit.targets) {
      outcomes_[target].is_busy = unit.report.is_busy;
      set(target, {unit.report.is_busy ? State::skipped : State::failed,
                   (unit.report.is_busy ? "in use: " : "") + unit.report.failure});
    }
    unit.checks.clear();
    unit.replays.clear();
    gone(unit);
  }

  /// The process of the unit has ended, as it was told to or by itself.
  void gone(LiveUnit& unit) {
    const std::string failure = unit.host->wait();
    if (!failure.empty()) observer_.warned(failure);
    std::set<std::size_t> lost(unit.checks.begin(), unit.checks.end());
    for (const auto& run : runs_) {
      if (run->unit == &unit) lost.insert(run->target);
    }
    std::erase_if(runs_, [&](const auto& one) { return one->unit == &unit; });
    for (const std::size_t target : lost) {
      set(target, {State::failed, "its mount has ended before it was checked"});
    }
    std::erase_if(units_, [&](const auto& one) { return one.get() == &unit; });
  }

  void finish(LiveUnit& unit, std::size_t target, Verdict verdict) {
    set(target, std::move(verdict));
    if (unit.running == 0 && unit.checks.empty() && unit.replays.empty() && unit.host != nullptr &&
        !unit.is_ending) {
      compare_devices(unit);
      unit.is_ending = true;
      unit.host->end(false);
    }
  }

  /// The plan was made before the journals were replayed. An image file that only a journal knew of
  /// was not checked, and one that is gone was in vain.
  void compare_devices(LiveUnit& unit) {
    if (!unit.is_compared) return;
    const std::string text = difference(unit.before, devices_in(unit.report.mountpoint));
    if (text.empty()) return;
    for (const std::size_t target : unit.unit.targets) {
      if (outcomes_[target].was_replayed) outcomes_[target].left_out = text;
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
    for (const Batch& batch : std::exchange(waiting_, {})) {
      for (const Unit* const unit : batch) {
        for (const std::size_t target : unit->targets) set(target, {State::cancelled, ""});
      }
    }
    std::set<std::size_t> ended;
    for (const auto& run : runs_) {
      run->run.cancel();
      ended.insert(run->target);
    }
    runs_.clear();
    for (const auto& unit : units_) {
      ended.insert(unit->checks.begin(), unit->checks.end());
      unit->checks.clear();
      unit->replays.clear();
      unit->running = 0;
      unit->is_ending = true;
      unit->host->end(!unit->is_mounted);
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
  std::deque<Batch> waiting_;
  std::vector<std::unique_ptr<LiveUnit>> units_;
  std::vector<std::unique_ptr<LiveRun>> runs_;
  bool is_cancelled_ = false;
};

}  // namespace

std::vector<Outcome> check_all(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
                               jobs::Spawner& spawner, const FleetOptions& options,
                               FleetObserver& observer) {
  return Fleet(peeling, request, plan, spawner, options, observer).run();
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
