// The ways in which a mount ends: each leaves no mount, no process and no open source behind.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "mounted.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t mib = 1 << 20;

/// A write lease is granted only on a file that no other process has open.
bool nobody_has_open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  const bool granted = ::fcntl(fd, F_SETLEASE, F_WRLCK) == 0;
  ::close(fd);
  return granted;
}

/// Children of init (or of a subreaper) that unmount for a dead daemon of ours, and still run.
std::vector<pid_t> unmounters_of(const std::string& mountpoint) {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream name(entry.path() / "comm");
    std::string text;
    std::getline(name, text);
    if (text != "fuse-unmounter") continue;
    std::ifstream arguments(entry.path() / "cmdline");
    std::getline(arguments, text);
    if (text.find(mountpoint) != std::string::npos) {
      found.push_back(std::stoi(entry.path().filename()));
    }
  }
  return found;
}

class Ending : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_MOUNTS();
    source_ = folder_ / "disk.img";
    write_file(source_, pattern(4 * mib, 3));
    mount_.emplace(sh("raw:" + source_));
    ASSERT_TRUE(mount_->mounted());
    ASSERT_GT(mount_->server(), 0);
    EXPECT_FALSE(nobody_has_open(source_)) << "the check itself must be able to fail";
  }
  void expect_gone() {
    EXPECT_TRUE(eventually([&] { return !mount_->mounted(); }));
    EXPECT_TRUE(eventually([&] { return !runs(mount_->server()); }));
    EXPECT_TRUE(eventually([&] { return unmounters_of(mount_->path()).empty(); }));
    EXPECT_TRUE(eventually([&] { return nobody_has_open(source_); }));
    std::error_code failure;
    EXPECT_TRUE(fs::is_empty(mount_->path(), failure));
    EXPECT_FALSE(failure) << failure.message();
  }

  TemporaryDirectory folder_;
  std::string source_;
  std::optional<Mount> mount_;
};

TEST_F(Ending, ItIsReadyWhenTheCommandReturns) {
  const CommandResult result = run("cmp " + sh(*mount_ / "disk") + " " + sh(source_));
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

TEST_F(Ending, UmountReturnsWhenEverySourceIsReleased) {
  const CommandResult result = mount_->umount();
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(result.output, "");
  EXPECT_TRUE(nobody_has_open(source_)) << "at once, without waiting";
  EXPECT_FALSE(mount_->mounted());
  expect_gone();
}

TEST_F(Ending, Fusermount) {
  must_run("fusermount3 -u " + sh(mount_->path()));
  expect_gone();
}

TEST_F(Ending, UmountOfUtilLinux) {
  NEED_ROOT();
  must_run("umount " + sh(mount_->path()));
  expect_gone();
}

TEST_F(Ending, Terminate) {
  ::kill(mount_->server(), SIGTERM);
  expect_gone();
}

TEST_F(Ending, Interrupt) {
  ::kill(mount_->server(), SIGINT);
  expect_gone();
}

TEST_F(Ending, HangUp) {
  ::kill(mount_->server(), SIGHUP);
  expect_gone();
}

TEST_F(Ending, KillLeavesNoDeadMount) {
  ::kill(mount_->server(), SIGKILL);
  expect_gone();
}

TEST_F(Ending, ACrashLeavesNoDeadMountEvenWithOpenFiles) {
  const int fd = ::open((*mount_ / "disk").c_str(), O_RDONLY | O_CLOEXEC);
  ::kill(mount_->server(), SIGABRT);
  expect_gone();
  std::byte byte{};
  EXPECT_EQ(::pread(fd, &byte, 1, 2 * mib), -1);
  EXPECT_EQ(errno, ENOTCONN);
  ::close(fd);
}

TEST_F(Ending, ASignalEndsABusyMount) {
  const int fd = ::open((*mount_ / "disk").c_str(), O_RDONLY | O_CLOEXEC);
  ::kill(mount_->server(), SIGTERM);
  expect_gone();
  ::close(fd);
}

TEST_F(Ending, ASignalEndsItWhileManyRead) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      const int fd = ::open((*mount_ / "disk").c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
      void* memory = nullptr;
      if (::posix_memalign(&memory, 4096, mib) == 0) {
        while (!stop && ::pread(fd, memory, mib, mib) > 0) {
        }
      }
      std::free(memory);
      ::close(fd);
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  ::kill(mount_->server(), SIGTERM);
  EXPECT_TRUE(eventually([&] { return !mount_->mounted(); }));
  stop = true;
  for (std::thread& reader : readers) reader.join();
  expect_gone();
}

TEST_F(Ending, ABusyMountStaysAndUmountNamesWhoUsesIt) {
  const int fd = ::open((*mount_ / "disk").c_str(), O_RDONLY | O_CLOEXEC);
  const CommandResult result = mount_->umount();
  EXPECT_NE(result.exit_code, 0);
  EXPECT_NE(result.output.find("pid " + std::to_string(::getpid())), std::string::npos)
      << result.output;
  EXPECT_NE(result.output.find("in use"), std::string::npos) << result.output;
  EXPECT_TRUE(mount_->mounted());
  std::byte byte{};
  EXPECT_EQ(::pread(fd, &byte, 1, 2 * mib), 1) << "and goes on serving";
  ::close(fd);
  EXPECT_EQ(mount_->umount().exit_code, 0);
  expect_gone();
}

TEST_F(Ending, ALazyUmountLetsOpenFilesBe) {
  const int fd = ::open((*mount_ / "disk").c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  EXPECT_EQ(mount_->umount("--lazy").exit_code, 0);
  EXPECT_FALSE(mount_->mounted());
  void* memory = nullptr;
  ASSERT_EQ(::posix_memalign(&memory, 4096, 4096), 0);
  EXPECT_EQ(::pread(fd, memory, 4096, 2 * mib), 4096);
  std::free(memory);
  EXPECT_TRUE(runs(mount_->server()));
  ::close(fd);
  expect_gone();
}

TEST_F(Ending, WhatIsMountedAfterALazyUmountIsLeftAlone) {
  const int fd = ::open((*mount_ / "disk").c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(mount_->umount("--lazy").exit_code, 0);
  must_run(program() + " mount " + sh("raw:" + source_) + " " + sh(mount_->path()));
  ::kill(mount_->server(), SIGTERM);
  EXPECT_TRUE(eventually([&] { return !runs(mount_->server()); }));
  ::close(fd);
  EXPECT_TRUE(mount_->mounted());
  must_run("cmp " + sh(*mount_ / "disk") + " " + sh(source_));
  EXPECT_EQ(mount_->umount().exit_code, 0);
  expect_gone();
}

TEST_F(Ending, AnAbortedConnectionLeavesNoDeadMount) {
  NEED_ROOT();
  struct stat status {};
  ASSERT_EQ(::stat(mount_->path().c_str(), &status), 0);
  const std::string connection =
      "/sys/fs/fuse/connections/" + std::to_string(minor(status.st_dev)) + "/abort";
  bool ours = false;
  if (!fs::exists(connection)) {
    run("mount -t fusectl fusectl /sys/fs/fuse/connections");
    ours = fs::exists(connection);
  }
  if (!fs::exists(connection)) GTEST_SKIP() << "fusectl cannot be mounted here";
  must_run("echo 1 >" + connection);
  if (ours) must_run("umount /sys/fs/fuse/connections");
  expect_gone();
}

TEST_F(Ending, LossOfTheUnmounterHurtsNobody) {
  const auto unmounters = unmounters_of(mount_->path());
  ASSERT_EQ(unmounters.size(), 1U);
  ::kill(unmounters.front(), SIGKILL);
  must_run("cmp " + sh(*mount_ / "disk") + " " + sh(source_));
  EXPECT_EQ(mount_->umount().exit_code, 0);
  expect_gone();
}

TEST_F(Ending, TheUnmounterIsLetGoWithTheMount) {
  EXPECT_EQ(unmounters_of(mount_->path()).size(), 1U);
  must_run("fusermount3 -u " + sh(mount_->path()));
  expect_gone();
}

TEST_F(Ending, ADeadMountIsUnmountedByUmount) {
  for (const pid_t unmounter : unmounters_of(mount_->path())) ::kill(unmounter, SIGKILL);
  ::kill(mount_->server(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return !runs(mount_->server()); }));
  EXPECT_TRUE(mount_->mounted());
  const CommandResult result = mount_->umount();
  EXPECT_EQ(result.exit_code, 0) << result.output;
  expect_gone();
}

TEST_F(Ending, ADescriptorIsHeldForOpenFilesOnly) {
  NEED_ROOT();  // the process holds keys, so that its user may not look into it
  const std::string open = "/proc/" + std::to_string(mount_->server()) + "/fd";
  const auto count = [&] {
    return std::distance(fs::directory_iterator(open), fs::directory_iterator());
  };
  run("cat " + sh(*mount_ / "disk") + " >/dev/null");
  const auto before = count();
  for (int i = 0; i < 500; ++i) {
    ::close(::open((*mount_ / "disk").c_str(), O_RDONLY | O_CLOEXEC));
    ::close(::open((*mount_ / ".peelfs/status.json").c_str(), O_RDONLY | O_CLOEXEC));
    ::close(connect_abstract(mount_->control_name()));
  }
  EXPECT_TRUE(eventually([&] { return count() <= before + 16; }))
      << before << " and now " << count();
}

TEST_F(Ending, NoSourceAndNoTerminalIsHeldByTheUnmounter) {
  NEED_ROOT();
  const auto unmounters = unmounters_of(mount_->path());
  ASSERT_EQ(unmounters.size(), 1U);
  std::size_t descriptors = 0;
  for (const auto& entry :
       fs::directory_iterator("/proc/" + std::to_string(unmounters.front()) + "/fd")) {
    ++descriptors;
    EXPECT_NE(fs::read_symlink(entry.path()), source_);
  }
  // The standard ones, that for orders, and the directory that the mount point lies in.
  EXPECT_LE(descriptors, 5U);
}

TEST_F(Ending, CoreDumpsAreOff) {
  std::ifstream limits("/proc/" + std::to_string(mount_->server()) + "/limits");
  const std::string text{std::istreambuf_iterator<char>(limits), std::istreambuf_iterator<char>()};
  EXPECT_NE(text.find("Max core file size        0                    0"), std::string::npos)
      << text;
  struct stat status {};
  ASSERT_EQ(::stat(("/proc/" + std::to_string(mount_->server()) + "/mem").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 0U) << "not dumpable";
}

TEST(EndingForeground, InTheForegroundItEndsWithZero) {
  NEED_MOUNTS();
  const TemporaryDirectory folder;
  write_file(folder / "disk.img", pattern(mib, 3));
  fs::create_directory(folder / "m");
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(program().c_str(), "peelfs", "mount", "-f", ("raw:" + (folder / "disk.img")).c_str(),
            (folder / "m").c_str(), nullptr);
    ::_exit(99);
  }
  EXPECT_TRUE(eventually([&] { return fs::exists(folder / "m/disk"); }));
  ::kill(child, SIGINT);
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_FALSE(is_mounted(folder / "m"));
}

TEST(EndingForeground, AMountInAPipelineDoesNotKeepThePipeOpen) {
  NEED_MOUNTS();
  const TemporaryDirectory folder;
  write_file(folder / "disk.img", pattern(mib, 3));
  fs::create_directory(folder / "m");
  // `run` reads until every holder of the pipe has closed it; a daemon that kept it would hang this
  // test.
  const CommandResult result =
      run("timeout 20 " + program() + " mount " + sh("raw:" + (folder / "disk.img")) + " " +
          sh(folder / "m") + " | cat");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_TRUE(is_mounted(folder / "m"));
  must_run(program() + " umount " + sh(folder / "m"));
}

}  // namespace
}  // namespace peelfs::test
