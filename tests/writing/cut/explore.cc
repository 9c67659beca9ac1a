#include "writing/cut/explore.h"

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>

#include "peelfs/io.h"

namespace peelfs::test {
namespace {

/// Looks at one state of the files.
class Inspector {
 public:
  Inspector(std::string folder, Qcow2Options image, std::uint64_t seed)
      : folder_(std::move(folder)), image_(std::move(image)), dice_(seed) {
    std::filesystem::create_directory(folder_);
  }

  /// @return "" or what is wrong
  std::string look(const Files& files, const Promises& promises) {
    put_files(folder_, files);
    const Disk disk = qcow2_disk(folder_, image_);
    std::string wrong = check(disk);
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
    return dice_.chance(25) ? go_on(disk, theirs) : "";
  }

 private:
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
    std::string wrong = check(disk);
    if (!wrong.empty()) return "after going on: " + wrong;
    return disk.outside.bytes(folder_ + ".raw") == model ? "" : "after going on: other bytes";
  }

  std::string folder_;
  Qcow2Options image_;
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

std::vector<std::string> explore(const Exploration& exploration, const Recorded& recorded,
                                 const Log& log) {
  const std::uint64_t seed = exploration.seed;
  const std::size_t all = log.entries().size();
  Dice dice(seed);
  std::multiset<std::size_t> chosen;
  for (std::size_t i = 0; i < exploration.points; ++i) chosen.insert(1 + dice.below(all));
  std::mutex failing;
  std::vector<std::string> failures;
  // Two workers, each with a replay of its own: what costs time is qemu-img's start.
  const auto worker = [&](unsigned which) {
    Inspector inspector(exploration.folder + "/state" + std::to_string(which), exploration.image,
                        seed + which);
    Dice own(seed + 17 * which);
    Replay replay(recorded.base, log);
    Promises promises(recorded.begin);
    while (replay.step()) {
      const std::size_t here = replay.position();
      promises.take(log.entries()[here - 1]);
      for (std::size_t i = 0; i < chosen.count(here); ++i) {
        if ((here + i) % 2 != which) continue;
        const bool in_order = (here + i) % 8 < 2;
        const std::string wrong = inspector.look(
            in_order ? replay.in_order(own.chance(50), own) : replay.reordered(own), promises);
        if (wrong.empty()) continue;
        const std::lock_guard lock(failing);
        failures.push_back("after entry " + std::to_string(here) + " of " + std::to_string(all) +
                           (in_order ? " in order: " : " reordered: ") + wrong);
      }
    }
  };
  std::thread other(worker, 1);
  worker(0);
  other.join();
  return failures;
}

}  // namespace peelfs::test
