#include "writing/cut/explore.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "peelfs/io.h"

namespace peelfs::test {
namespace {

/// Looks at one state of the files.
class Inspector {
 public:
  Inspector(std::string folder, const Subject& subject, std::uint64_t seed)
      : folder_(std::move(folder)), subject_(subject), dice_(seed) {
    std::filesystem::create_directory(folder_);
  }

  std::string look(const Files& files, const Promises& promises) {
    put_files(folder_, files);
    Disk disk = subject_.disk(folder_);
    disk.copied = true;
    if (!disk.overlay.empty() && !std::filesystem::exists(overlay_of(disk))) {
      return promises.any() ? "the overlay is gone, and something was promised" : "";
    }
    std::string wrong = shell(subject_.recover);
    if (wrong.empty()) wrong = shell(subject_.copy_out);
    if (wrong.empty()) wrong = check(disk);
    if (!wrong.empty()) return wrong;
    const Buffer theirs = disk.outside.bytes(folder_ + ".raw");
    wrong = promises.broken(theirs);
    if (!wrong.empty()) return "as qemu reads it: " + wrong;
    {
      const OpenDisk open(disk, false);
      if (!open.ready()) return "peelfs does not open it";
      if (read_bytes(open.device(), 0, open.device().size()) != theirs) {
        return "peelfs and qemu read it differently";
      }
    }
    return subject_.goes_on && dice_.chance(25) ? go_on(disk, theirs) : "";
  }

 private:
  static std::string overlay_of(const Disk& disk) {
    return disk.overlay + "/" + std::filesystem::path(disk.sources.front()).stem().string() +
           ".qcow2";
  }

  std::string shell(const std::string& commands) const {
    if (commands.empty()) return "";
    const CommandResult result = run("cd " + shell_word(folder_) + " && { " + commands + "; }");
    return result.exit_code == 0 ? "" : commands + "\n" + result.output.substr(0, 3000);
  }

  static std::string check(const Disk& disk) {
    const CommandResult result = run("qemu-img check " + disk.outside.arguments());
    if (result.exit_code == 0 || result.exit_code == 3) return "";
    return "qemu-img check exits " + std::to_string(result.exit_code) + "\n" +
           result.output.substr(0, 3000);
  }

  /// Writes to what was left, and checks again.
  std::string go_on(const Disk& disk, Buffer model) {
    {
      const OpenDisk open(disk);
      if (!open.ready()) return "peelfs does not open it for writing";
      for (unsigned i = 0; i < 12; ++i) {
        const Range at = dice_.range(model.size(), disk.unit, 100'000);
        const Buffer data = pattern(at.length, dice_.number());
        std::copy(data.begin(), data.end(), model.begin() + static_cast<std::ptrdiff_t>(at.offset));
        write(open.device(), at.offset, data);
      }
      open.device().flush();
    }
    std::string wrong = shell(subject_.copy_out);
    if (wrong.empty()) wrong = check(disk);
    if (!wrong.empty()) return "after going on: " + wrong;
    return disk.outside.bytes(folder_ + ".raw") == model ? "" : "after going on: other bytes";
  }

  std::string folder_;
  Subject subject_;
  Dice dice_;
};

}  // namespace

std::string recording(const std::string& recorder, const std::string& directory,
                      const std::string& log) {
  write_file(log, {});
  return std::string(record_directory) + "=" +
         shell_word(std::filesystem::canonical(directory).string()) + " " + record_log + "=" +
         shell_word(log) + " LD_PRELOAD=" + shell_word(recorder) + " ";
}

Subject qcow2_subject(const std::string& name, const Qcow2Options& options) {
  return {name, [options](const std::string& folder) { make_qcow2(folder, options); },
          [options](const std::string& folder) { return qcow2_disk(folder, options); }};
}

Look look_at_disk(const Subject& subject, const std::string& folder, std::uint64_t seed) {
  auto inspector = std::make_shared<Inspector>(folder, subject, seed);
  return [inspector](const Files& files, const Promises& promises) {
    return inspector->look(files, promises);
  };
}

std::vector<std::string> explore(const Exploration& exploration, const Recorded& recorded,
                                 const Log& log) {
  const std::uint64_t seed = exploration.seed;
  const std::size_t all = log.entries().size();
  Dice dice(seed);
  std::multiset<std::size_t> chosen;
  for (std::size_t i = 0; i < exploration.points; ++i) chosen.insert(1 + dice.below(all));
  for (std::size_t i = 0; i < std::min(all, exploration.beginning); ++i) chosen.insert(i + 1);
  std::mutex failing;
  std::vector<std::string> failures;
  // Each with a replay of its own: what costs time is the start of other programs.
  const auto worker = [&](unsigned which) {
    const Look look = exploration.look(which);
    Dice own(seed + 17 * which);
    Replay replay(recorded.base, log);
    Promises promises(recorded.begin);
    while (replay.step()) {
      const std::size_t here = replay.position();
      promises.take(log.entries()[here - 1]);
      for (std::size_t i = 0; i < chosen.count(here); ++i) {
        if ((here + i) % exploration.workers != which) continue;
        const bool in_order = (here + i) % 8 < 2;
        const Files files = in_order ? replay.in_order(own.chance(50), own) : replay.reordered(own);
        std::string wrong;
        try {
          wrong = look(files, promises);
        } catch (const std::exception& error) {
          wrong = error.what();
        }
        if (wrong.empty()) continue;
        const std::lock_guard lock(failing);
        failures.push_back("after entry " + std::to_string(here) + " of " + std::to_string(all) +
                           (in_order ? " in order: " : " reordered: ") + wrong);
      }
    }
  };
  std::vector<std::thread> others;
  for (unsigned i = 1; i < exploration.workers; ++i) others.emplace_back(worker, i);
  worker(0);
  for (std::thread& other : others) other.join();
  return failures;
}

}  // namespace peelfs::test
