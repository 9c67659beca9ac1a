// What a power cut leaves of `peelfs commit`, by the system calls of the real program: at every
// point the overlay and its source are the disk that they were before, the overlay says that its
// source is changed before it is, and the next commit finishes it.
#include <gtest/gtest.h>

#include <filesystem>

#include "mount/mounted.h"
#include "overlay/overlay.h"
#include "writing/cut/explore.h"
#include "writing/nested_stack.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t mib = 1U << 20U;

struct Commit {
  std::string name, format;
  std::function<void(const std::string& folder)> make;
  bool grown = false;  ///< the overlay was made larger, and used behind the old end

  Disk without(const std::string& folder) const {
    const std::string path = folder + "/disk." + format;
    return {.folder = folder,
            .sources = {path},
            .device = "disk",
            .outside = {.options = "driver=" + format + ",file.driver=file,file.filename=" + path,
                        .checked = format != "raw"}};
  }
  Disk with(const std::string& folder) const { return covered(without(folder), format); }
};

void PrintTo(const Commit& commit, std::ostream* out) {
  *out << commit.name;
}

std::vector<Commit> commits() {
  const auto qcow2 = [](const Qcow2Options& options) {
    return [options](const std::string& folder) { make_qcow2(folder, options); };
  };
  return {
      {"raw", "raw",
       [](const std::string& folder) {
         write_file(folder + "/disk.raw", pattern(2 * mib + 512, 5));
         must_run("fallocate -p -o 1M -l 300K " + sh(folder + "/disk.raw"));
       }},
      {"qcow2", "qcow2", qcow2({.cluster = 4096, .size = mib + 512, .compressed = true})},
      {"qcow2_on_raw", "qcow2",
       qcow2({.size = 2 * mib, .backing_format = "raw", .backing_size = mib})},
      {"raw_grown", "raw",
       [](const std::string& folder) { write_file(folder + "/disk.raw", pattern(mib + 512, 5)); },
       true},
      {"qcow2_grown", "qcow2", qcow2({.cluster = 4096, .size = mib + 512, .compressed = true}),
       true}};
}

class CommitCut : public ::testing::TestWithParam<Commit> {
 protected:
  void SetUp() override {
    NEED_PROGRAM("qemu-img");
    NEED_PROGRAM("qemu-io");
    if (std::string_view(PEELFS_RECORDER).empty()) {
      GTEST_SKIP() << "a program with sanitizers does not let itself be recorded";
    }
    fs::create_directory(images_);
    GetParam().make(images_);
    fix_times(images_);
    fill_overlay();
    if (GetParam().grown) grow_overlay();
    base_ = base_of(images_);
    wanted_ = GetParam().with(images_).outside.bytes(folder_ / "wanted.raw");
    ASSERT_NE(wanted_, GetParam().without(images_).outside.bytes(folder_ / "before.raw"));
    must_run(recording(PEELFS_RECORDER, images_, log_) + command(images_));
    ASSERT_EQ(GetParam().without(images_).outside.bytes(folder_ / "after.raw"), wanted_);
  }

  void fill_overlay() const {
    const OpenDisk open(GetParam().with(images_));
    ASSERT_TRUE(open.ready());
    Dice dice(seed_for("commit " + GetParam().name));
    const std::uint64_t size = open.device().size();
    for (unsigned i = 0; i < 30; ++i) {
      const Range at = dice.range(size, 65536, 200'000);
      write(open.device(), at.offset, pattern(at.length, dice.number()));
      const Range gone = dice.range(size, 65536, 100'000);
      zero(open.device(), gone.offset, gone.length,
           dice.chance(50) ? WriteKind::zeroes : WriteKind::discard);
    }
    open.device().flush();
  }
  void grow_overlay() const {
    const std::string overlay = sh(GetParam().with(images_).overlay + "/disk.qcow2");
    must_run("qemu-img resize -q -f qcow2 " + overlay + " +5M && qemu-io -f qcow2 " +
             "-c 'write -P 5 3M 300k' -c 'write -P 6 5M 70k' -c 'write -z 4M 100k' " + overlay);
  }

  static std::string command(const std::string& folder) {
    return program() + " commit -q --accept-source " + (GetParam().grown ? "--grow " : "") +
           "--overlay " + sh(folder + "/overlays") + " " +
           sh(GetParam().without(folder).sources.front());
  }

  std::string look(const std::string& folder, const Files& files) const;
  std::vector<std::string> explore_all(const Log& log, std::size_t points,
                                       unsigned round = 0) const {
    const std::uint64_t seed = seed_for("commit cut " + GetParam().name) + round;
    return explore({[this](unsigned worker) -> Look {
                      const std::string folder = folder_ / ("state" + std::to_string(worker));
                      fs::create_directory(folder);
                      return [this, folder](const Files& files, const Promises&) {
                        return look(folder, files);
                      };
                    },
                    seed, points, 0, 1},
                   {base_, wanted_}, log);
  }

  TemporaryDirectory folder_;
  const std::string images_ = folder_.path() + "/images";
  const std::string log_ = folder_.path() + "/log";
  Base base_;
  Buffer wanted_;
};

/// @return "" or what is wrong with a disk that is to hold `wanted`
std::string wrong_with(const Disk& disk, const Buffer& wanted, const std::string& scratch) {
  if (disk.outside.checked) {
    const CommandResult check = run("qemu-img check " + disk.outside.arguments());
    if (check.exit_code != 0 && check.exit_code != 3) {
      return "qemu-img check exits " + std::to_string(check.exit_code) + "\n" +
             check.output.substr(0, 2000);
    }
  }
  return disk.outside.bytes(scratch) == wanted ? "" : "other bytes";
}

/// Looks at one state, finishes the commit there, and looks again.
std::string CommitCut::look(const std::string& folder, const Files& files) const {
  put_files(folder, files);
  const Disk alone = GetParam().without(folder);
  const Disk both = GetParam().with(folder);
  const std::string overlay = both.overlay + "/disk.qcow2";
  const std::string name = fs::path(alone.sources.front()).filename();
  const std::string scratch = folder + ".raw";
  if (!files.contains("overlays/disk.qcow2")) {
    const std::string wrong = wrong_with(alone, wanted_, scratch);
    return wrong.empty() ? "" : "the overlay is gone, and its source is not right: " + wrong;
  }
  std::string wrong = wrong_with(both, wanted_, scratch);
  if (!wrong.empty()) return "the overlay and its source: " + wrong;
  const bool marked = overlay::is_committing(*file_device(overlay));
  if (files.at(name) != base_.files.at(name)) {
    if (!marked) return "the source is changed, and its overlay does not say so";
    must_run("touch " + sh(alone.sources.front()));
  }
  if (alone.outside.checked) {
    const int code = run("qemu-img check " + alone.outside.arguments()).exit_code;
    if (code != 0 && code != 3) return "qemu-img check of the source exits " + std::to_string(code);
  }
  if (marked) {
    try {
      const OpenDisk open(both);
      return "it can be written to, half committed";
    } catch (const Error& error) {
      if (error.error_number() != EBUSY) return error.what();
    }
  }
  const CommandResult again = run(command(folder));
  if (again.exit_code != 0) return "the next commit fails: " + again.output;
  if (fs::exists(overlay)) return "the next commit leaves the overlay there";
  wrong = wrong_with(alone, wanted_, scratch);
  return wrong.empty() ? "" : "after the next commit: " + wrong;
}

TEST_P(CommitCut, TheNextCommitFinishesIt) {
  const Log log(log_);
  const auto writes_of = [&](const std::string& path) {
    std::uint64_t inode = 0;
    for (const auto& [number, name] : base_.names) inode = name == path ? number : inode;
    return std::count_if(log.entries().begin(), log.entries().end(), [&](const Entry& entry) {
      return entry.header.kind == Record::write && entry.header.file == inode;
    });
  };
  ASSERT_GE(writes_of("overlays/disk.qcow2"), 1);
  ASSERT_GE(writes_of("disk." + GetParam().format), 5) << "nothing was recorded";
  const auto failures = explore_all(log, nightly() ? 400 : 24);
  for (std::size_t i = 0; i < std::min<std::size_t>(failures.size(), 3); ++i) {
    ADD_FAILURE() << failures[i] << "\n" << how_to_repeat();
  }
}

INSTANTIATE_TEST_SUITE_P(Every, CommitCut, ::testing::ValuesIn(commits()),
                         [](const auto& commit) { return commit.param.name; });

// The harness itself: without its syncs the same log must be found out.
class CommitHarness : public CommitCut {};

TEST_P(CommitHarness, WithoutSyncsItFails) {
  Log log(log_);
  log.forget_syncs();
  // A few points may all lie where it does not matter.
  bool found_out = false;
  for (unsigned round = 0; round < 20 && !found_out; ++round) {
    found_out = !explore_all(log, 12, round).empty();
  }
  EXPECT_TRUE(found_out);
}

INSTANTIATE_TEST_SUITE_P(One, CommitHarness, ::testing::Values(commits().front()),
                         [](const auto& commit) { return commit.param.name; });

}  // namespace
}  // namespace peelfs::test
