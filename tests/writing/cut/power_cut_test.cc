// What a power cut leaves, driven from the system calls of a process that writes: at every point in
// its log, and for writes between two barriers in any order, the image must open, must pass
// `qemu-img check` but for leaks, and must hold what was promised.
#include <gtest/gtest.h>

#include <filesystem>

#include "writing/cut/explore.h"

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
      // The first write takes the bitmaps away.
      {"bitmaps",
       {.cluster = 4096, .size = mib},
       60,
       "qemu-img bitmap --add -g 512 disk.qcow2 one && qemu-img bitmap --add disk.qcow2 two"},
      {"extended_snapshots",
       {.cluster = 16384, .size = mib, .create = "extended_l2=on", .snapshots = true},
       120,
       "qemu-img snapshot -c one disk.qcow2"},
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

  /// Runs the driver; the log is in log_ then.
  Recorded record(const Workload& workload);
  Exploration exploration(const Workload& workload, std::size_t points) const {
    const std::uint64_t seed = seed_for(workload.name);
    return {[this, workload, seed](unsigned worker) {
              return look_at_disk(qcow2_subject(workload.name, workload.image),
                                  folder_ / ("state" + std::to_string(worker)), seed + worker);
            },
            seed, points};
  }

  TemporaryDirectory folder_;
  std::string image_folder_ = folder_ / "image";
  std::string log_ = folder_ / "log";
};

Recorded PowerCut::record(const Workload& workload) {
  const Disk disk = make_qcow2(image_folder_, workload.image);
  if (!workload.before.empty()) {
    must_run("cd " + shell_word(image_folder_) + " && " + workload.before);
  }
  Recorded recorded{base_of(image_folder_), disk.outside.bytes(folder_ / "begin.raw")};
  must_run(recording(PEELFS_RECORDER, image_folder_, log_) + shell_word(PEELFS_WRITE_DRIVER) + " " +
           shell_word(disk.sources.front()) + " disk " + std::to_string(disk.unit) + " " +
           std::to_string(seed_for(workload.name)) + " " +
           std::to_string(workload.operations * (nightly() ? 4 : 1)));
  return recorded;
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
  const std::vector<std::string> failures =
      explore(exploration(GetParam(), cut_points()), recorded, log);
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
  EXPECT_FALSE(explore(exploration(workload, 60), recorded, log).empty());
}

// And one that answers fsync without having done it.
TEST_F(PowerCut, WithoutSyncsItFails) {
  const Workload& workload = workloads().at(0);
  const Recorded recorded = record(workload);
  Log log(log_);
  log.forget_syncs();
  EXPECT_FALSE(explore(exploration(workload, 30), recorded, log).empty());
}

// Internal snapshots have no safe order in the format: a cut may leave an image that needs
// `qemu-img check -r all`, which must then give exact bytes: of the disk those before or after
// going back, of the snapshot its own.
TEST_F(PowerCut, SnapshotsAreRepairedToExactBytes) {
  const Qcow2Options image{.cluster = 4096, .size = mib, .snapshots = true};
  const Disk disk = make_qcow2(image_folder_, image);
  must_run("cd " + shell_word(image_folder_) +
           " && qemu-img snapshot -c one disk.qcow2 && qemu-io -c 'write -P 7 100k 300k' -c "
           "'discard 600k 64k' disk.qcow2");
  const Buffer before = disk.outside.bytes(folder_ / "begin.raw");
  const Buffer after = disk.outside.snapshot("one", folder_ / "one.raw");
  ASSERT_NE(before, after);
  const Base base = base_of(image_folder_);
  must_run(recording(PEELFS_RECORDER, image_folder_, log_) + shell_word(PEELFS_WRITE_DRIVER) +
           " snapshots " + shell_word(disk.sources.front()));
  EXPECT_EQ(disk.outside.bytes(folder_ / "end.raw"), after);
  disk.outside.check();
  const Log log(log_);
  Replay replay(base, log);
  Dice dice(seed_for("snapshots"));
  const std::string state = folder_ / "state";
  std::filesystem::create_directory(state);
  const Disk left = qcow2_disk(state, image);
  unsigned looked = 0;
  unsigned failures = 0;
  while (replay.step() && failures < 3) {
    for (unsigned i = 0; i < (nightly() ? 20 : 1); ++i) {
      const bool in_order = (replay.position() + i) % 2 == 0;
      put_files(state, in_order ? replay.in_order(dice.chance(50), dice) : replay.reordered(dice));
      const std::string where = "after entry " + std::to_string(replay.position()) + " of " +
                                std::to_string(log.entries().size()) +
                                (in_order ? " in order; " : " reordered; ") + how_to_repeat();
      ++looked;
      const CommandResult repair =
          run("qemu-img check -r all -f qcow2 " + shell_word(left.sources.front()));
      // 0: repaired or nothing to do; 3: leaks that it could not give back.
      const bool repaired = repair.exit_code == 0 || repair.exit_code == 3;
      const Buffer found = repaired ? left.outside.bytes(folder_ / "state.raw") : Buffer();
      const bool exact = repaired && (found == before || found == after) &&
                         left.outside.snapshot("one", folder_ / "state.raw") == after;
      if (exact) continue;
      ++failures;
      ADD_FAILURE() << where << "\nqemu-img check -r all exits " << repair.exit_code << "\n"
                    << repair.output.substr(0, 2000)
                    << (repaired ? "other bytes than before and after" : "");
    }
  }
  EXPECT_GT(looked, 20U);
}

INSTANTIATE_TEST_SUITE_P(Every, PowerCut, ::testing::ValuesIn(workloads()),
                         [](const auto& workload) { return workload.param.name; });

}  // namespace
}  // namespace peelfs::test
