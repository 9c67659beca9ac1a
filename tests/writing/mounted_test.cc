// Writing through a mount by the real program: what survives kill -9, and a power cut.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <regex>
#include <thread>

#include "mount/mounted.h"
#include "writing/client.h"
#include "writing/cut/recorded_mount.h"
#include "writing/cut/subjects.h"

namespace peelfs::test {
namespace {

class MountedWriting : public ::testing::TestWithParam<Subject> {
 protected:
  void SetUp() override {
    NEED_MOUNTS();
    for (const char* const tool : {"qemu-img", "qemu-io", "mke2fs", "debugfs"}) NEED_PROGRAM(tool);
    std::filesystem::create_directory(images_);
    subject_.make(images_);
    fix_times(images_);
    disk_ = subject_.disk(images_);
    arguments_ = mount_arguments(disk_);
    for (const std::string& path : disk_.untouched) digests_[path] = sha256(read_file(path));
    if (!disk_.snapshots.empty()) must_run("qemu-img snapshot -c before " + sh(disk_.snapshots));
  }
  void TearDown() override {
    for (const auto& [path, digest] : digests_) EXPECT_EQ(sha256(read_file(path)), digest) << path;
  }

  /// Before an overlay is there, a mount makes it.
  Buffer bytes_before() {
    if (!disk_.overlay.empty()) {
      const Mount mount(arguments_);
      EXPECT_EQ(mount.umount().exit_code, 0);
    }
    look("");
    return disk_.outside.bytes(folder_ / "before.raw");
  }
  /// As a person would after a crash. @param check options of qemu-img check
  void look(const std::string& options) const;
  std::string snapshot_digest() {
    return disk_.snapshots.empty()
               ? ""
               : sha256(disk_.outside.snapshot("before", folder_ / "snapshot.raw"));
  }

  const Subject& subject_ = GetParam();
  TemporaryDirectory folder_;
  const std::string images_ = folder_.path() + "/images";
  const std::string log_ = folder_.path() + "/log";
  Disk disk_;
  std::string arguments_;
  std::map<std::string, std::string> digests_;
};

/// Whether a check complains of nothing but clusters behind the end that the file had when the
/// check began.
bool only_has_grown(const std::string& output) {
  static const std::regex errors("ERROR(?!: counting reference for region exceeding the end)");
  return output.find("ERROR: counting") != std::string::npos && !std::regex_search(output, errors);
}

/// Nothing but leaks, also while others write (-U). Such a check reads references first and counts
/// later; what is given up in between looks as if it had no count. A defect of the image would be
/// found every time.
void expect_sound(const std::string& arguments) {
  const bool racing = arguments.starts_with("-U");
  CommandResult check;
  bool sound = false;
  for (int attempt = 0; !sound && attempt < (racing ? 5 : 1); ++attempt) {
    check = run("qemu-img check " + arguments);
    sound =
        check.exit_code == 0 || check.exit_code == 3 || (racing && only_has_grown(check.output));
  }
  EXPECT_TRUE(sound) << "qemu-img check " << arguments << " exits " << check.exit_code << "\n"
                     << check.output.substr(0, 2000) << how_to_repeat();
}

void MountedWriting::look(const std::string& options) const {
  for (const std::string& commands : {subject_.recover, subject_.copy_out}) {
    if (!commands.empty()) must_run("cd " + sh(images_) + " && { " + commands + "; }");
  }
  expect_sound(options + disk_.outside.arguments());
}

TEST_P(MountedWriting, KillLosesNothingThatWasSynced) {
  const bool plain = subject_.recover.empty();
  Buffer known = bytes_before();
  const std::string snapshot = snapshot_digest();
  Dice dice(seed_for("kill " + subject_.name));
  std::uint64_t syncs = 0;
  const unsigned rounds = (nightly() ? 200 : 24) / (subject_.name == "qcow2" ? 2 : 10);
  for (unsigned round = 0; round < rounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    write_file(log_, {});
    {
      const Mount mount(arguments_);
      ASSERT_TRUE(mount.mounted());
      ASSERT_GT(mount.server(), 1);
      if (!subject_.in_mount.empty())
        must_run("cd " + sh(mount.path()) + " && " + subject_.in_mount);
      Client client(mount / disk_.device, log_, disk_.unit, dice.number());
      ASSERT_EQ(client.sync(), 0);
      std::thread killer([&, delay = 1 + dice.below(round % 4 == 0 ? 400 : 60)] {
        // On a busy machine nothing would be promised within the delay, so every other round waits.
        const std::uint64_t wanted = round % 2 == 0 ? 5 : 1;
        EXPECT_TRUE(eventually([&] { return client.syncs() >= wanted; }, std::chrono::seconds(30)));
        std::this_thread::sleep_for(std::chrono::milliseconds(delay));
        if (plain && round % 4 == 0) expect_sound("-U " + disk_.outside.arguments());
        ::kill(mount.server(), SIGKILL);
      });
      int error = 0;
      while (error == 0) error = client.step();
      killer.join();
      EXPECT_TRUE(error == ENOTCONN || error == ECONNABORTED || error == EIO) << error;
      syncs += client.syncs();
    }
    look("");
    const Log log(log_);
    Promises promises(known);
    for (const Entry& entry : log.entries()) promises.take(entry);
    known = disk_.outside.bytes(folder_ / "known.raw");
    ASSERT_EQ(promises.broken(known), "") << how_to_repeat();
    ASSERT_EQ(snapshot_digest(), snapshot);
  }
  EXPECT_GT(syncs, 2U * rounds) << "hardly anything was promised";
}

/// The disk's bytes when nothing was written to it.
Buffer untouched_bytes(const Subject& subject, const Disk& disk, const std::string& folder) {
  const std::string made = folder + "/made";
  std::filesystem::create_directory(made);
  must_run("cp -a --sparse=always " + sh(disk.folder) + "/. " + sh(made));
  Disk copy = subject.disk(made);
  copy.copied = true;
  {
    const OpenDisk open(copy, !copy.overlay.empty());
    open.device().flush();
  }
  for (const std::string& commands : {subject.recover, subject.copy_out}) {
    if (!commands.empty()) must_run("cd " + sh(made) + " && { " + commands + "; }");
  }
  return copy.outside.bytes(folder + "/begin.raw");
}

TEST_P(MountedWriting, APowerCutLosesNothingThatWasSynced) {
  if (std::string_view(PEELFS_RECORDER).empty()) {
    GTEST_SKIP() << "a program with sanitizers does not let itself be recorded";
  }
  const Recorded recorded{base_of(images_), untouched_bytes(subject_, disk_, folder_.path())};
  {
    const RecordedMount mount(images_, log_, arguments_);
    ASSERT_TRUE((*mount).mounted());
    {
      Client client(*mount / disk_.device, log_, disk_.unit, seed_for("cut " + subject_.name));
      for (unsigned i = 0; i < (nightly() ? 600 : 150); ++i) ASSERT_EQ(client.step(), 0);
      ASSERT_EQ(client.sync(), 0);
    }
    ASSERT_EQ((*mount).umount().exit_code, 0);
  }
  const Log log(log_);
  const std::uint64_t seed = seed_for("cut " + subject_.name);
  const Exploration exploration{
      [&](unsigned worker) {
        return look_at_disk(subject_, folder_ / ("state" + std::to_string(worker)), seed + worker);
      },
      seed, nightly() ? 1000U : 30U, disk_.overlay.empty() ? 0U : 12U,
      disk_.overlay.empty() ? 2U : 1U};
  const auto failures = explore(exploration, recorded, log);
  for (std::size_t i = 0; i < std::min<std::size_t>(failures.size(), 3); ++i) {
    ADD_FAILURE() << failures[i] << "\n" << how_to_repeat();
  }
}

INSTANTIATE_TEST_SUITE_P(Every, MountedWriting, ::testing::ValuesIn(mounted_subjects()),
                         [](const auto& subject) { return subject.param.name; });

}  // namespace
}  // namespace peelfs::test
