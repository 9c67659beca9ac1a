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

TEST_P(PowerCut, NothingPromisedIsLost) {
  const Workload& workload = GetParam();
  const std::uint64_t seed = seed_for(workload.name);
  const Disk disk = make_qcow2(image_folder_, workload.image);
  if (!workload.before.empty()) {
    must_run("cd " + shell_word(image_folder_) + " && " + workload.before);
  }
  const Buffer begin = disk.outside.bytes(folder_ / "begin.raw");
  const Base base = base_of(image_folder_);
  write_file(log_, {});
  must_run(std::string(record_directory) + "=$(realpath " + shell_word(image_folder_) + ") " +
           record_log + "=" + shell_word(log_) + " LD_PRELOAD=" + shell_word(PEELFS_RECORDER) +
           " " + shell_word(PEELFS_WRITE_DRIVER) + " " + shell_word(disk.sources.front()) +
           " disk " + std::to_string(disk.unit) + " " + std::to_string(seed) + " " +
           std::to_string(workload.operations * (nightly() ? 4 : 1)));
  const Log log(log_);
  std::size_t syncs = 0;
  std::size_t writes = 0;
  for (const Entry& entry : log.entries()) {
    syncs += entry.header.kind == Record::sync ? 1 : 0;
    writes += entry.header.kind == Record::write ? 1 : 0;
  }
  ASSERT_GT(syncs, 5U);
  ASSERT_GT(writes, 50U) << "nothing was recorded";

  // Which points: all, or that many at random.
  Dice dice(seed);
  std::multiset<std::size_t> points;
  for (std::size_t i = 0; i < cut_points(); ++i)
    points.insert(1 + dice.below(log.entries().size()));
  std::mutex failing;
  unsigned failures = 0;
  const auto worker = [&](unsigned which) {
    Inspector inspector(folder_ / ("state" + std::to_string(which)), workload.image, seed + which);
    Dice own(seed + 17 * which);
    Replay replay(base, log);
    Promises promises(begin);
    while (replay.step()) {
      promises.take(log.entries()[replay.position() - 1]);
      const std::size_t here = points.count(replay.position());
      for (std::size_t i = 0; i < here; ++i) {
        const std::uint64_t mode = (replay.position() + i) % 4;
        const Files files =
            mode == 0 ? replay.in_order(own.chance(50), own) : replay.reordered(own);
        if ((replay.position() + i) % 2 != which) continue;
        const std::string wrong = inspector.look(files, promises);
        if (wrong.empty()) continue;
        const std::lock_guard lock(failing);
        if (++failures <= 3) {
          ADD_FAILURE() << "after entry " << replay.position() << " of " << log.entries().size()
                        << (mode == 0 ? " in order" : " reordered") << ": " << wrong << "\n"
                        << how_to_repeat();
        }
      }
    }
  };
  std::thread other(worker, 1);
  worker(0);
  other.join();
  EXPECT_EQ(failures, 0U) << "of " << points.size() << " cut points";
}

INSTANTIATE_TEST_SUITE_P(Every, PowerCut, ::testing::ValuesIn(workloads()),
                         [](const auto& workload) { return workload.param.name; });

}  // namespace
}  // namespace peelfs::test
