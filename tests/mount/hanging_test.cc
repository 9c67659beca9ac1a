// A source that does not answer, and a daemon that does not: all other requests go on, and commands
// that wait for these end after a time limit of their own. The source is a file in another mount of
// peelfs, whose process is stopped.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "mount/lanes.h"
#include "mount/mount.h"
#include "mounted.h"
#include "peelfs/error.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr std::uint64_t mib = 1 << 20;

/// For a process that ends in order with a thread that hangs.
#ifdef __SANITIZE_ADDRESS__
#define NEED_NO_LEAK_CHECK() \
  GTEST_SKIP() << "LeakSanitizer stops all threads, and waits for one that hangs"
#else
#define NEED_NO_LEAK_CHECK() static_cast<void>(0)
#endif

/// Stops a process for as long as it lives.
class Stopped {
 public:
  /// Returns when all its threads have stopped: a request that one of them has taken meanwhile
  /// would be waited for in a way that not even the end of a process ends.
  explicit Stopped(pid_t process) : process_(process) {
    ::kill(process_, SIGSTOP);
    EXPECT_TRUE(eventually([this] { return has_stopped(); }));
  }
  ~Stopped() { go_on(); }
  Stopped(const Stopped&) = delete;
  Stopped& operator=(const Stopped&) = delete;
  void go_on() const { ::kill(process_, SIGCONT); }

 private:
  bool has_stopped() const {
    for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(process_) + "/task")) {
      std::ifstream file(task.path() / "stat");
      std::string line;
      std::getline(file, line);
      const std::size_t name_end = line.rfind(')');
      if (name_end == std::string::npos || line.compare(name_end, 3, ") T") != 0) return false;
    }
    return true;
  }

  pid_t process_;
};

/// Readers of a file that may hang, each at a place of its own that is not in the page cache.
class Readers {
 public:
  Readers(const std::string& path, unsigned count, const Buffer& truth) {
    for (unsigned i = 0; i < count; ++i) {
      threads_.emplace_back([this, path, i, &truth] {
        const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
        void* memory = nullptr;
        const std::size_t at = 20 * mib + i * std::size_t{65536};
        if (fd >= 0 && ::posix_memalign(&memory, 4096, 4096) == 0 &&
            ::pread(fd, memory, 4096, static_cast<off_t>(at)) == 4096 &&
            std::equal(truth.begin() + static_cast<std::ptrdiff_t>(at),
                       truth.begin() + static_cast<std::ptrdiff_t>(at) + 4096,
                       static_cast<const std::byte*>(memory))) {
          ++right_;
        }
        std::free(memory);
        ::close(fd);
        ++done_;
      });
    }
  }
  ~Readers() { join(); }
  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;
  void join() {
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
  unsigned right() const { return right_; }
  unsigned done() const { return done_; }

 private:
  std::atomic<unsigned> right_ = 0, done_ = 0;
  std::vector<std::thread> threads_;
};

class Hanging : public ::testing::Test {
 protected:
  static constexpr std::size_t size = 64 * mib;

  void SetUp() override {
    NEED_MOUNTS();
    truth_ = pattern(size, 1);
    write_file(folder_ / "far.img", truth_);
    write_file(folder_ / "near.img", pattern(8 * mib, 2));
    below_.emplace(sh("raw:" + (folder_ / "far.img")));
    ASSERT_TRUE(below_->mounted());
  }
  std::string far() const { return "raw:" + (*below_ / "far"); }
  std::string near() const { return "raw:" + (folder_ / "near.img"); }

  /// What is said of the one that hangs.
  void expect_left_out(const CommandResult& result) const {
    EXPECT_NE(result.output.find(below_->path() + "/far does not answer"), std::string::npos)
        << result.output;
  }

  /// Runs a command that must end by itself within `limit`.
  static CommandResult in_time(const std::string& command, seconds limit) {
    const auto begin = Clock::now();
    // KILL: a process that waits for a FUSE daemon takes no other signal.
    CommandResult result =
        run("timeout -s KILL " + std::to_string(2 * limit.count() + 20) + " sh -c " + sh(command));
    EXPECT_LT(Clock::now() - begin, limit) << command << "\n" << result.output;
    return result;
  }

  TemporaryDirectory folder_;
  Buffer truth_;
  std::optional<Mount> below_;
};

TEST_F(Hanging, ASourceStopsOnlyThoseWhoReadIt) {
  const Mount mount(sh(far()) + " " + sh(near()));
  ASSERT_TRUE(mount.mounted());
  const Stopped stopped(below_->server());
  // More than it has threads.
  Readers readers(mount / "far", 150, truth_);
  std::this_thread::sleep_for(seconds(1));
  EXPECT_EQ(readers.done(), 0U) << "nothing hangs here";

  EXPECT_EQ(in_time("cat " + sh(mount / ".peelfs/status.json"), seconds(10)).exit_code, 0);
  EXPECT_EQ(
      in_time("cmp " + sh(mount / "near") + " " + sh(folder_ / "near.img"), seconds(10)).exit_code,
      0);
  EXPECT_EQ(in_time("dd status=none bs=1M iflag=direct if=" + sh(mount / "near") + " | cmp - " +
                        sh(folder_ / "near.img"),
                    seconds(10))
                .exit_code,
            0);
  EXPECT_EQ(
      in_time("ls -l " + sh(mount.path()) + "/ " + sh(mount / "by-path"), seconds(10)).exit_code,
      0);
  EXPECT_EQ(readers.done(), 0U);
  stopped.go_on();
  readers.join();
  EXPECT_EQ(readers.right(), 150U);
}

TEST_F(Hanging, AttributesSayThereMayBeHolesUntilTheSourceAnswers) {
  const TemporaryDirectory folder;
  make_sparse(folder / "sparse.img", 64 * mib, {{0, mib}});
  const Mount source(sh("raw:" + (folder / "sparse.img")));
  const Mount mount(sh("raw:" + (source / "sparse")));
  struct stat status {};
  {
    const Stopped stopped(source.server());
    const auto begin = Clock::now();
    ASSERT_EQ(::stat((mount / "sparse").c_str(), &status), 0);
    EXPECT_LT(Clock::now() - begin, seconds(5));
    EXPECT_EQ(status.st_size, static_cast<off_t>(64 * mib));
    EXPECT_EQ(status.st_blocks, static_cast<blkcnt_t>(64 * mib / 512 - 1));
  }
  EXPECT_TRUE(eventually([&] {
    return ::stat((mount / "sparse").c_str(), &status) == 0 &&
           status.st_blocks < static_cast<blkcnt_t>(8 * mib / 512);
  })) << status.st_blocks;
}

TEST_F(Hanging, AWriterOfAnotherSourceGoesOn) {
  const Mount mount("-o overlay=" + sh(folder_ / "overlay") + " " + sh(far()) + " " + sh(near()));
  ASSERT_TRUE(mount.mounted()) << mount.result().output;
  const Stopped stopped(below_->server());
  Readers readers(mount / "far", 100, truth_);
  std::this_thread::sleep_for(seconds(1));
  // What the overlay knows its source by was read before, at places all over it.
  EXPECT_LT(readers.done(), 10U) << "nothing hangs here";
  EXPECT_EQ(in_time("dd status=none if=/dev/urandom of=" + sh(folder_ / "new") +
                        " bs=1M count=4 && dd status=none conv=notrunc,fsync bs=1M if=" +
                        sh(folder_ / "new") + " of=" + sh(mount / "near") + " && cmp -n 4194304 " +
                        sh(folder_ / "new") + " " + sh(mount / "near"),
                    seconds(20))
                .exit_code,
            0);
  stopped.go_on();
  readers.join();
  EXPECT_EQ(readers.right(), 100U);
}

TEST_F(Hanging, UmountOfAStoppedDaemonEndsAndSaysSo) {
  const Mount mount(sh(near()));
  const Stopped stopped(mount.server());
  const CommandResult result =
      in_time(program() + " umount --timeout 2 " + sh(mount.path()), seconds(15));
  EXPECT_EQ(result.exit_code, 2) << result.output;
  EXPECT_NE(result.output.find("process " + std::to_string(mount.server())), std::string::npos)
      << result.output;
  EXPECT_TRUE(mount.mounted());
}

TEST_F(Hanging, AProcessThatSaysNothingIsGivenUpBeforeTheTimeIsOver) {
  const Mount mount(sh(near()));
  const Stopped stopped(mount.server());
  const CommandResult result = in_time(program() + " umount " + sh(mount.path()), seconds(25));
  EXPECT_EQ(result.exit_code, 2) << result.output;
  EXPECT_NE(result.output.find("does not answer"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("--lazy"), std::string::npos) << result.output;
  EXPECT_TRUE(mount.mounted());
}

TEST_F(Hanging, ALazyUmountFreesTheMountPointOfAStoppedDaemon) {
  const Mount mount(sh(near()));
  const Stopped stopped(mount.server());
  const CommandResult result = in_time(program() + " umount -l " + sh(mount.path()), seconds(15));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_FALSE(mount.mounted());
}

TEST_F(Hanging, ALazyUmountThatMayLoseSomethingSaysSo) {
  const Mount mount("-o overlay=" + sh(folder_ / "overlay") + " " + sh(near()));
  const Stopped stopped(mount.server());
  const CommandResult result = in_time(program() + " umount -l " + sh(mount.path()), seconds(15));
  EXPECT_EQ(result.exit_code, 2) << result.output;
  EXPECT_NE(result.output.find("is detached, but"), std::string::npos) << result.output;
  EXPECT_EQ(result.output.find("--lazy"), std::string::npos) << result.output;
  EXPECT_FALSE(mount.mounted());
}

TEST_F(Hanging, ADaemonWhoseSourceHangsEndsByItself) {
  const Mount mount(sh(far()));
  const Stopped stopped(below_->server());
  Readers readers(mount / "far", 40, truth_);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_EQ(in_time(program() + " umount -l " + sh(mount.path()), seconds(15)).exit_code, 0);
  ::kill(mount.server(), SIGTERM);  // the readers keep the mount that was detached
  EXPECT_TRUE(eventually([&] { return !runs(mount.server()); }, seconds(30)));
  EXPECT_TRUE(eventually([&] { return readers.done() == 40; }, seconds(10)));
  EXPECT_EQ(readers.right(), 0U);
  stopped.go_on();
  readers.join();
}

TEST_F(Hanging, AnUnlockThatHangsKeepsNobodyWaiting) {
  NEED_PROGRAM("qemu-img");
  write_file(folder_ / "passphrase", as_bytes("correct horse"));
  const std::string key = "secret,id=k,file=" + (folder_ / "passphrase");
  must_run("qemu-img create -q --object " + sh(key) + " -f luks -o key-secret=k,iter-time=20 " +
           sh(folder_ / "luks.img") + " 64M");
  const Mount source(sh("raw:" + (folder_ / "luks.img")));
  const Mount mount("--no-prompt " + sh(source / "luks"));
  {
    const Stopped stopped(source.server());
    std::thread unlocking([&] {
      try {
        request_unlock(mount.path(), "luks", Secret(as_bytes("correct horse")));
      } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the mount may end meanwhile
      }
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const auto begin = Clock::now();
    request_locked(mount.path());
    EXPECT_LT(Clock::now() - begin, seconds(5));
    EXPECT_EQ(
        in_time(program() + " umount --timeout 20 " + sh(mount.path()), seconds(30)).exit_code, 0);
    stopped.go_on();
    unlocking.join();
  }
}

TEST_F(Hanging, LsOfASourceThatHangsEndsByItsClock) {
  NEED_NO_LEAK_CHECK();
  const Stopped stopped(below_->server());
  for (const std::string& source : {*below_ / "far", below_->path()}) {
    const CommandResult result = in_time(program() + " ls --timeout 2 " + sh(source), seconds(15));
    EXPECT_EQ(result.exit_code, 2) << result.output;
    EXPECT_NE(result.output.find("does not answer"), std::string::npos) << result.output;
    EXPECT_NE(result.output.find(below_->path()), std::string::npos) << result.output;
  }
}

TEST_F(Hanging, LsShowsTheOthers) {
  NEED_NO_LEAK_CHECK();
  const Stopped stopped(below_->server());
  for (const std::string& sources :
       {sh(near()) + " " + sh(far()), sh(*below_ / "far") + " " + sh(near())}) {
    const CommandResult result = in_time(program() + " ls --timeout 2 " + sources, seconds(20));
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_NE(result.output.find("near "), std::string::npos) << result.output;
    expect_left_out(result);
  }
}

TEST_F(Hanging, CatMapAndExportReadTheOthers) {
  NEED_NO_LEAK_CHECK();
  const Stopped stopped(below_->server());
  const std::string sources = sh(far()) + " " + sh(near());
  for (const std::string verb : {"cat", "map", "export"}) {
    const std::string copy = sh(folder_ / "copy");
    const CommandResult result = in_time(program() + " " + verb + " --timeout 2 " + sources +
                                             " near " + (verb == "export" ? copy : ">" + copy),
                                         seconds(20));
    EXPECT_EQ(result.exit_code, 1) << verb << ": " << result.output;
    expect_left_out(result);
    if (verb != "map") {
      EXPECT_TRUE(read_file(folder_ / "copy") == read_file(folder_ / "near.img")) << verb;
    }
    fs::remove(folder_ / "copy");
  }
}

TEST_F(Hanging, HashReadsTheOthers) {
  NEED_NO_LEAK_CHECK();
  const Stopped stopped(below_->server());
  const CommandResult result = in_time(
      program() + " hash --timeout 2 " + sh(far()) + " " + sh(near()) + " near", seconds(20));
  EXPECT_EQ(result.exit_code, 1) << result.output;
  expect_left_out(result);
  EXPECT_NE(result.output.find(sha256(read_file(folder_ / "near.img")) + "  near\n"),
            std::string::npos)
      << result.output;
}

TEST_F(Hanging, ExportOfTheOneThatHangsEnds) {
  NEED_NO_LEAK_CHECK();
  const Stopped stopped(below_->server());
  const CommandResult result = in_time(
      program() + " export --timeout 2 " + sh(far()) + " far " + sh(folder_ / "copy"), seconds(20));
  EXPECT_EQ(result.exit_code, 2) << result.output;
  expect_left_out(result);
  EXPECT_FALSE(fs::exists(folder_ / "copy"));
}

TEST_F(Hanging, MountLeavesOutTheOneThatHangs) {
  NEED_NO_LEAK_CHECK();
  const Stopped stopped(below_->server());
  const Mount mount("--timeout 2 " + sh(far()) + " " + sh(near()), 64);
  expect_left_out(mount.result());
  ASSERT_TRUE(mount.mounted());
  EXPECT_TRUE(read_file(mount / "near") == read_file(folder_ / "near.img"));
  EXPECT_EQ(in_time(program() + " umount " + sh(mount.path()), seconds(30)).exit_code, 0);
}

TEST_F(Hanging, AnOverlayNeedsAllOfItsSources) {
  NEED_NO_LEAK_CHECK();
  const Stopped stopped(below_->server());
  const std::string options = "--overlay " + sh(folder_ / "overlay");
  const Mount mount("--timeout 2 " + options + " " + sh(near()) + " " + sh(far()), 32);
  EXPECT_FALSE(mount.mounted());
}

// Of the gate itself.

TEST(LanesOfRequests, OneLaneLeavesPlacesForTheNext) {
  Lanes lanes(100, 12);
  const auto hung = std::make_shared<Lane>();
  const auto other = std::make_shared<Lane>();
  std::mutex gate;
  gate.lock();
  std::atomic<unsigned> begun = 0, ended = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 20; ++i) {
    threads.emplace_back([&] {
      lanes.run(hung, [&] {
        ++begun;
        const std::lock_guard wait(gate);
        ++ended;
      });
    });
  }
  EXPECT_TRUE(eventually([&] { return begun == 4; })) << begun << ": a third of all";
  bool ran = false;
  lanes.run(other, [&] { ran = true; });
  EXPECT_TRUE(ran) << "at once, on this thread";
  EXPECT_EQ(begun, 4U);
  gate.unlock();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ended, 20U) << "what had to wait runs on the threads that it waited for";
}

TEST(LanesOfRequests, WhatWaitsIsPreparedForIt) {
  Lanes lanes(1, 12);
  const auto lane = std::make_shared<Lane>();
  std::vector<std::string> order;
  lanes.run(lane, [&] {
    order.emplace_back("first");
    std::string text = "borrowed";
    struct Body {
      std::vector<std::string>* order;
      const std::string* text;
      std::shared_ptr<std::string> kept;
      void operator()() const { order->push_back(*text); }
    };
    lanes.run(lane, Body{&order, &text, nullptr}, [](Body& body) {
      body.kept = std::make_shared<std::string>(*body.text);
      body.text = body.kept.get();
    });
    text = "overwritten";
    order.emplace_back("parked");
  });
  EXPECT_EQ(order, (std::vector<std::string>{"first", "parked", "borrowed"}));
}

TEST(LanesOfRequests, AQuestionThatHangsIsWaitedForOnce) {
  const auto lane = std::make_shared<Lane>();
  EXPECT_TRUE(lane->ask([] {}, seconds(5)));
  std::mutex gate;
  gate.lock();
  std::atomic<bool> answered = false;
  const auto begin = Clock::now();
  EXPECT_FALSE(lane->ask(
      [&] {
        const std::lock_guard wait(gate);
        answered = true;
      },
      std::chrono::milliseconds(100)));
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(lane->ask([] {}, std::chrono::milliseconds(100)));
  EXPECT_LT(Clock::now() - begin, seconds(3));
  gate.unlock();
  EXPECT_TRUE(eventually([&] { return answered.load(); }));
  EXPECT_TRUE(eventually([&] { return lane->ask([] {}, seconds(1)); }));
}

}  // namespace
}  // namespace peelfs::test
