// Writing through a mount by the real program: what survives kill -9, and a power cut.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <optional>
#include <thread>

#include "mount/mounted.h"
#include "writing/client.h"
#include "writing/cut/explore.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t mib = 1U << 20U;

class MountedWriting : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_MOUNTS();
    NEED_PROGRAM("qemu-img");
    NEED_PROGRAM("qemu-io");
    std::filesystem::create_directory(images_);
  }
  Disk make(const Qcow2Options& options) {
    image_ = options;
    return make_qcow2(images_, options);
  }

  TemporaryDirectory folder_;
  const std::string images_ = folder_.path() + "/images";
  const std::string log_ = folder_.path() + "/log";
  Qcow2Options image_;
};

/// Nothing but leaks, also while others write.
void expect_sound(const std::string& image, const std::string& options) {
  const CommandResult check = run("qemu-img check " + options + sh(image));
  EXPECT_TRUE(check.exit_code == 0 || check.exit_code == 3)
      << "qemu-img check " << options << "exits " << check.exit_code << "\n"
      << check.output.substr(0, 2000) << how_to_repeat();
}

TEST_F(MountedWriting, KillLosesNothingThatWasSynced) {
  const Disk disk = make({.size = 6 * mib + 512, .snapshots = true});
  const std::string image = disk.sources.front();
  must_run("qemu-img snapshot -c before " + sh(image));
  const Buffer snapshot = disk.outside.snapshot("before", folder_ / "snapshot.raw");
  Buffer known = disk.outside.bytes(folder_ / "known.raw");
  Dice dice(seed_for("kill"));
  std::uint64_t syncs = 0;
  for (unsigned round = 0; round < (nightly() ? 200 : 20); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    write_file(log_, {});
    {
      const Mount mount("-o rw " + sh(image));
      ASSERT_TRUE(mount.mounted());
      ASSERT_GT(mount.server(), 1);
      Client client(mount / "disk", log_, disk.unit, dice.number());
      ASSERT_EQ(client.sync(), 0);
      std::thread killer([&, delay = 1 + dice.below(round % 4 == 0 ? 400 : 60)] {
        std::this_thread::sleep_for(std::chrono::milliseconds(delay));
        if (round % 4 == 0) expect_sound(image, "-U ");
        ::kill(mount.server(), SIGKILL);
      });
      int error = 0;
      while (error == 0) error = client.step();
      killer.join();
      EXPECT_TRUE(error == ENOTCONN || error == ECONNABORTED || error == EIO) << error;
      syncs += client.syncs();
    }
    expect_sound(image, "");
    const Log log(log_);
    Promises promises(known);
    for (const Entry& entry : log.entries()) promises.take(entry);
    known = disk.outside.bytes(folder_ / "known.raw");
    ASSERT_EQ(promises.broken(known), "") << how_to_repeat();
    ASSERT_EQ(disk.outside.snapshot("before", folder_ / "snapshot.raw"), snapshot);
  }
  EXPECT_GT(syncs, 40U) << "hardly anything was promised";
}

/// The recorder goes into the next mount's process by the environment.
class RecordedMount {
 public:
  RecordedMount(const std::string& images, const std::string& log, const std::string& arguments) {
    write_file(log, {});
    ::setenv(record_directory, std::filesystem::canonical(images).c_str(), 1);
    ::setenv(record_log, log.c_str(), 1);
    ::setenv("LD_PRELOAD", PEELFS_RECORDER, 1);
    mount_.emplace(arguments);
    for (const char* const name : {record_directory, record_log, "LD_PRELOAD"}) ::unsetenv(name);
  }
  const Mount& operator*() const { return *mount_; }

 private:
  std::optional<Mount> mount_;
};

TEST_F(MountedWriting, APowerCutLosesNothingThatWasSynced) {
  if (std::string_view(PEELFS_RECORDER).empty()) {
    GTEST_SKIP() << "a program with sanitizers does not let itself be recorded";
  }
  const Disk disk = make({.cluster = 4096, .size = 2 * mib, .snapshots = true});
  must_run("qemu-img snapshot -c before " + sh(disk.sources.front()));
  const Recorded recorded{base_of(images_), disk.outside.bytes(folder_ / "begin.raw")};
  {
    const RecordedMount mount(images_, log_, "-o rw " + sh(disk.sources.front()));
    ASSERT_TRUE((*mount).mounted());
    Client client(*mount / "disk", log_, disk.unit, seed_for("mounted cut"));
    for (unsigned i = 0; i < (nightly() ? 600 : 150); ++i) ASSERT_EQ(client.step(), 0);
    ASSERT_EQ(client.sync(), 0);
  }
  const Log log(log_);
  const auto failures = explore(
      {image_, folder_.path(), seed_for("mounted cut"), nightly() ? 1500U : 80U}, recorded, log);
  for (std::size_t i = 0; i < std::min<std::size_t>(failures.size(), 3); ++i) {
    ADD_FAILURE() << failures[i] << "\n" << how_to_repeat();
  }
}

}  // namespace
}  // namespace peelfs::test
