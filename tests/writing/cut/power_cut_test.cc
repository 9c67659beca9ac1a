// What a power cut leaves, driven from the system calls of a process that writes: at every point in
// its log, and for writes between two barriers in any order, the image must open, must pass
// `qemu-img check` but for leaks, and must hold what was promised.
#include <gtest/gtest.h>

#include <filesystem>
#include <mutex>
#include <set>
#include <thread>

#include "writing/cut/promises.h"
#include "writing/cut/replay.h"
#include "writing/qcow2_stack.h"

namespace peelfs::test {
namespace {

struct Workload {
  std::string name;
  Qcow2Options image;
  unsigned operations = 120;
  std::string before = {};  ///< shell commands in the folder, once the image is made
};

void PrintTo(const Workload& workload, std::ostream* out) {
  *out << workload.name;
}

constexpr std::uint64_t mib = 1U << 20U;

const std::vector<Workload>& workloads() {
  static const std::vector<Workload> list{
      {"plain", {.size = 3 * mib + 512}},
      {"refcounts_grow", {.cluster = 512, .size = mib}, 200},
      {"refcount_1_v2", {.cluster = 4096, .size = mib, .create = "compat=0.10"}},
      {"snapshots",
       {.cluster = 4096, .size = mib, .snapshots = true},
       120,
       "qemu-img snapshot -c one disk.qcow2 && qemu-io -c 'write -P 7 100k 300k' disk.qcow2 && "
       "qemu-img snapshot -c two disk.qcow2"},
      {"compressed", {.cluster = 4096, .size = mib, .compressed = true}},
      {"backing", {.size = 2 * mib, .backing_format = "raw", .backing_size = mib + 512}},
      {"extended", {.cluster = 16384, .size = mib, .create = "extended_l2=on"}},
      {"wide_refcounts", {.cluster = 512, .size = mib / 2, .refcount_bits = 64}, 200},
  };
  return list;
}

/// Cut points of one workload.
std::size_t cut_points() {
  return (nightly() ? 10'000 : 600) / workloads().size() + 1;
}

/// What there was before a workload ran.
struct Recorded {
  Base base;
  Buffer begin;  ///< the disk's bytes
};

class PowerCut : public ::testing::TestWithParam<Workload> {
 protected:
  void SetUp() override {
    for (const char* const tool : {"qemu-img", "qemu-io"}) {
      if (!have_program(tool)) GTEST_SKIP() << tool << " is not installed";
    }
    if (std::string_view(PEELFS_RECORDER).empty()) {
      GTEST_SKIP() << "a program with sanitizers does not let itself be recorded";
    }
    std::filesystem::create_directory(image_folder_);
  }

  /// Runs the driver; the log is in log_ then.
  Recorded record(const Workload& workload);
  /// Looks at that many points of the log. @return what was wrong
  std::vector<std::string> explore(const Workload& workload, const Recorded& recorded,
                                   const Log& log, std::size_t points);

  TemporaryDirectory folder_;
  std::string image_folder_ = folder_ / "image";
  std::string log_ = folder_ / "log";
};

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

Recorded PowerCut::record(const Workload& workload) {
  const Disk disk = make_qcow2(image_folder_, workload.image);
  if (!workload.before.empty()) {
    must_run("cd " + shell_word(image_folder_) + " && " + workload.before);
  }
  Recorded recorded{base_of(image_folder_), disk.outside.bytes(folder_ / "begin.raw")};
  write_file(log_, {});
  must_run(std::string(record_directory) + "=$(realpath " + shell_word(image_folder_) + ") " +
           record_log + "=" + shell_word(log_) + " LD_PRELOAD=" + shell_word(PEELFS_RECORDER) +
           " " + shell_word(PEELFS_WRITE_DRIVER) + " " + shell_word(disk.sources.front()) +
           " disk " + std::to_string(disk.unit) + " " + std::to_string(seed_for(workload.name)) +
           " " + std::to_string(workload.operations * (nightly() ? 4 : 1)));
  return recorded;
}

std::vector<std::string> PowerCut::explore(const Workload& workload, const Recorded& recorded,
                                           const Log& log, std::size_t points) {
  const std::uint64_t seed = seed_for(workload.name);
  const std::size_t all = log.entries().size();
  Dice dice(seed);
  std::multiset<std::size_t> chosen;
  for (std::size_t i = 0; i < points; ++i) chosen.insert(1 + dice.below(all));
  std::mutex failing;
  std::vector<std::string> failures;
  // Two workers, each with a replay of its own: what costs time is qemu-img's start.
  const auto worker = [&](unsigned which) {
    Inspector inspector(folder_ / ("state" + std::to_string(which)), workload.image, seed + which);
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

TEST_P(PowerCut, NothingPromisedIsLost) {
  const Recorded recorded = record(GetParam());
  const Log log(log_);
  std::size_t syncs = 0;
  std::size_t writes = 0;
  for (const Entry& entry : log.entries()) {
    syncs += entry.header.kind == Record::sync ? 1 : 0;
    writes += entry.header.kind == Record::write ? 1 : 0;
  }
  ASSERT_GT(syncs, 5U);
  ASSERT_GT(writes, 50U) << "nothing was recorded";
  const std::vector<std::string> failures = explore(GetParam(), recorded, log, cut_points());
  for (std::size_t i = 0; i < std::min<std::size_t>(failures.size(), 3); ++i) {
    ADD_FAILURE() << failures[i] << "\n" << how_to_repeat();
  }
  EXPECT_EQ(failures.size(), 0U) << "of " << cut_points() << " cut points";
}

// The harness itself: a writer that left out barriers must be found out. What a client was promised
// stays durable here; only the barriers within a flush are gone.
TEST_F(PowerCut, WithoutBarriersItFails) {
  const Workload& workload = workloads().at(1);
  const Recorded recorded = record(workload);
  Log log(log_);
  log.forget_barriers();
  EXPECT_FALSE(explore(workload, recorded, log, 150).empty());
}

// And one that answers fsync without having done it.
TEST_F(PowerCut, WithoutSyncsItFails) {
  const Workload& workload = workloads().at(0);
  const Recorded recorded = record(workload);
  Log log(log_);
  log.forget_syncs();
  EXPECT_FALSE(explore(workload, recorded, log, 100).empty());
}

INSTANTIATE_TEST_SUITE_P(Every, PowerCut, ::testing::ValuesIn(workloads()),
                         [](const auto& workload) { return workload.param.name; });

}  // namespace
}  // namespace peelfs::test
