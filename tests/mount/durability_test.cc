// Bytes whose flush has succeeded are on the host's disk, and so are all bytes once a mount has
// ended, in any way.
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "writable.h"

namespace peelfs::test {
namespace {

using Durability = WritableDisk;

/// Counts up in blocks of dp1 until a write fails. @return how many blocks were acknowledged
std::uint64_t write_until_it_ends(const std::string& path, std::atomic<std::uint64_t>& count) {
  const Fd fd(path, O_RDWR);
  Buffer block(4096);
  for (std::uint64_t i = 0; i < 4000; ++i) {
    std::memcpy(block.data(), &i, sizeof(i));
    if (fd.write(i * 4096, block) != 0) break;
    count = i + 1;
  }
  return count;
}

class DurabilitySignals : public WritableDisk, public ::testing::WithParamInterface<int> {};

TEST_P(DurabilitySignals, WhatWasAnsweredIsThere) {
  std::atomic<std::uint64_t> count = 0;
  std::thread writer([&] { write_until_it_ends(file("dp1"), count); });
  EXPECT_TRUE(eventually([&] { return count > 200; }));
  ::kill(mount_->server(), GetParam());
  writer.join();
  EXPECT_TRUE(eventually([&] { return !runs(mount_->server()); }));
  EXPECT_TRUE(eventually([&] { return !mount_->mounted(); }));
  const Fd source(source_, O_RDONLY);
  for (std::uint64_t i = 0; i < count; ++i) {
    const Buffer block = source.read(p1_begin + i * 4096, 4096);
    std::uint64_t found = 0;
    ASSERT_EQ(block.size(), 4096U);
    std::memcpy(&found, block.data(), sizeof(found));
    ASSERT_EQ(found, i) << "of " << count;
  }
}
INSTANTIATE_TEST_SUITE_P(Ends, DurabilitySignals, ::testing::Values(SIGTERM, SIGINT, SIGKILL));

TEST_F(Durability, ASignalEndsItWhileOpensWaitAndFilesAreMapped) {
  Fd fd(file("dp1"), O_RDWR);
  const int second = ::dup(fd.get());
  fd.close();
  std::thread waiting([&] { EXPECT_NE(Fd(file("d"), O_RDWR).error(), 0); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  ::kill(mount_->server(), SIGTERM);
  waiting.join();
  EXPECT_TRUE(eventually([&] { return !runs(mount_->server()); }));
  ::close(second);
}

/// A mount below strace, which lets a system call fail.
class DurabilityFaults : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_MOUNTS();
    NEED_ROOT();  // fusermount3 is not set-user-id below strace
    NEED_PROGRAM("strace");
    if (run("strace -o /dev/null true").exit_code != 0) GTEST_SKIP() << "strace cannot trace here";
    source_ = folder_ / "d.img";
    make_disk(source_);
    ASSERT_EQ(::mkdir((folder_ / "m").c_str(), 0700), 0);
  }
  /// @param fault options of strace
  void mount(const std::string& fault) {
    must_run("strace -f -qq -o " + sh(folder_ / "trace") + " " + fault + " " + program() +
             " mount -o rw,log-file=" + sh(folder_ / "log") + " " + sh(source_) + " " +
             sh(folder_ / "m") + " >" + sh(folder_ / "out") +
             " 2>&1 </dev/null & for i in $(seq 100); do test -e " + sh(folder_ / "m/dp1") +
             " && exit 0; sleep 0.1; done; exit 1");
  }
  void TearDown() override {
    run("fusermount3 -u -z " + sh(folder_ / "m") + " 2>/dev/null");
    EXPECT_TRUE(eventually([&] { return !is_mounted(folder_ / "m"); }));
  }
  /// Not by a command: a child that is started closes what is open here, which is a FLUSH.
  std::string trace() const {
    const Buffer text = read_file(folder_ / "trace");
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }

  TemporaryDirectory folder_;
  std::string source_;
};

TEST_F(DurabilityFaults, FsyncAndCloseReachTheHost) {
  mount("-e trace=fdatasync,pwritev");
  const auto syncs = [&] {
    const std::string text = trace();
    std::size_t count = 0;
    for (std::size_t at = text.find("fdatasync("); at != std::string::npos;
         at = text.find("fdatasync(", at + 1)) {
      ++count;
    }
    return count;
  };
  Fd fd(folder_ / "m/dp1", O_RDWR);
  ASSERT_EQ(fd.write(0, pattern(4096, 1)), 0);
  EXPECT_EQ(syncs(), 0U);
  EXPECT_EQ(::fsync(fd.get()), 0);
  EXPECT_EQ(syncs(), 1U);
  EXPECT_EQ(::fsync(fd.get()), 0);
  EXPECT_EQ(syncs(), 1U) << "nothing new was written";
  ASSERT_EQ(fd.write(0, pattern(4096, 2)), 0);
  EXPECT_EQ(fd.close(), 0);
  EXPECT_EQ(syncs(), 2U);
}

TEST_F(DurabilityFaults, ALostWriteIsReportedWhereverSomebodyCanHearIt) {
  mount("-e trace=fdatasync -e inject=fdatasync:error=EIO");
  Fd fd(folder_ / "m/dp1", O_RDWR);
  ASSERT_EQ(fd.write(0, pattern(4096, 1)), 0);
  EXPECT_EQ(::fsync(fd.get()), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_NE(fd.write(0, pattern(4096, 1)), 0) << "nothing pretends";
  EXPECT_EQ(fd.close(), -1);
  EXPECT_EQ(errno, EIO);
  const CommandResult refused = run(program() + " umount " + sh(folder_ / "m"));
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_NE(refused.output.find("could not be flushed"), std::string::npos) << refused.output;
  EXPECT_TRUE(is_mounted(folder_ / "m"));
  const CommandResult insisted = run(program() + " umount --lazy " + sh(folder_ / "m"));
  EXPECT_NE(insisted.exit_code, 0);
  EXPECT_NE(insisted.output.find("could not be flushed"), std::string::npos) << insisted.output;
  EXPECT_FALSE(is_mounted(folder_ / "m"));
  EXPECT_NE(must_run("cat " + sh(folder_ / "log")).find("dp1: flush of"), std::string::npos);
}

TEST_F(DurabilityFaults, AnErrorOfTheHostIsItsErrorHere) {
  mount("-e trace=pwritev -e inject=pwritev:error=EIO");
  const Fd fd(folder_ / "m/dp1", O_RDWR);
  EXPECT_EQ(fd.write(0, pattern(4096, 2)), EIO);
  EXPECT_NE(must_run("cat " + sh(folder_ / "log")).find("dp1: write of 4096 bytes at 0 failed"),
            std::string::npos);
  EXPECT_EQ(fd.read(0, 4096), Buffer(4096)) << "as it was";
}

}  // namespace
}  // namespace peelfs::test
