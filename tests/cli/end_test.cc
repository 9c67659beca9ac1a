// A verb that is ended by Ctrl-C, by a terminal that closes or by SIGKILL: what it leaves behind,
// what it prints, and its exit code.
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "cli/overlays.h"

namespace peelfs::test {
namespace {

class Ends : public Overlays {
 protected:
  bool mounted() const { return contains(must_run("cat /proc/mounts"), folder_ / "tmp"); }
  /// `try` with a command that writes a mark, if it is to, says so, and goes on.
  std::string trying(bool writes, const std::string& options = "") const {
    const std::string mark = "printf MARK | dd of={} conv=notrunc status=none; ";
    return command_line("try " + options + " " + disk_ + " diskp2 -- sh -c '" +
                        (writes ? mark : "") + "echo ready {}; sleep 100 & wait'");
  }
  /// No process runs any more that has this test's folder in its arguments: peelfs, its mount, the
  /// command.
  bool everything_has_ended() const {
    for (const auto& entry : fs::directory_iterator("/proc")) {
      std::ifstream file(entry.path() / "cmdline");
      const std::string line{std::istreambuf_iterator<char>(file), {}};
      if (contains(line, folder_.path())) return false;
    }
    return true;
  }
  /// One directory is left, and in it the overlay with what was written.
  void expect_kept() const {
    const auto left = kept();
    ASSERT_EQ(left.size(), 1U);
    EXPECT_TRUE(fs::exists(left.front() + "/disk.qcow2"));
    EXPECT_EQ(
        peelfs_apart("cat --length 4 --overlay " + left.front() + " " + disk_ + " diskp2 | cat")
            .output,
        "MARK");
    untouched();
  }
  static void kill_and_reap(Terminal& terminal, int signal) {
    ::kill(terminal.process(), signal);
    EXPECT_EQ(terminal.finish(), 128 + signal);
  }
};

TEST_F(Ends, TryThatIsKilledLeavesTheOverlayAndNothingElse) {
  Terminal terminal(trying(true));
  ASSERT_TRUE(terminal.wait_for("ready"));
  EXPECT_TRUE(mounted());
  kill_and_reap(terminal, SIGKILL);
  EXPECT_TRUE(wait_until([&] { return !mounted() && kept().size() == 1; }));
  EXPECT_TRUE(wait_until([&] { return everything_has_ended(); })) << "its device is gone";
  expect_kept();
}

TEST_F(Ends, TryThatIsKilledLeavesNothingWhenNothingWasWritten) {
  Terminal terminal(trying(false));
  ASSERT_TRUE(terminal.wait_for("ready"));
  kill_and_reap(terminal, SIGKILL);
  EXPECT_TRUE(wait_until([&] { return !mounted() && nothing_kept(); }));
  untouched();
}

TEST_F(Ends, TryThatIsKilledWhileItMountsLeavesNothing) {
  Terminal terminal(trying(false));
  ASSERT_TRUE(wait_until([&] {
    const auto there = kept();
    return std::any_of(there.begin(), there.end(),
                       [](const auto& path) { return fs::exists(path + "/disk.qcow2"); });
  }));
  kill_and_reap(terminal, SIGKILL);
  EXPECT_TRUE(wait_until([&] { return !mounted() && nothing_kept(); }));
}

TEST_F(Ends, WhatTryWasToldToKeepStays) {
  Terminal terminal(trying(false, "--keep " + ov_));
  ASSERT_TRUE(terminal.wait_for("ready"));
  kill_and_reap(terminal, SIGKILL);
  EXPECT_TRUE(wait_until([&] { return !mounted() && nothing_kept(); }));
  EXPECT_TRUE(fs::exists(ov_ + "/disk.qcow2"));
}

/// The end of the process that served the mount and what try does next run side by side.
TEST_F(Ends, TryThatEndsByItselfClearsUpItself) {
  for (int i = 0; i < 20; ++i) {
    const Outputs done = try_it(disk_ + " diskp2 -- true {}");
    ASSERT_EQ(done.exit_code, 0) << done.errors;
    ASSERT_TRUE(contains(done.errors, "nothing is changed")) << done.errors;
    ASSERT_TRUE(nothing_kept());
  }
}

/// Before the question nothing but the overlay is left, so that nothing is left behind it.
TEST_F(Ends, TryThatIsKilledAtTheQuestion) {
  Terminal terminal(command_line("try " + disk_ +
                                 " diskp2 -- sh -c 'printf MARK | dd of={} conv=notrunc "
                                 "status=none'"));
  ASSERT_TRUE(terminal.wait_for("[c/d/k]"));
  kill_and_reap(terminal, SIGKILL);
  EXPECT_FALSE(mounted());
  expect_kept();
}

TEST_F(Ends, TryWithoutItsTerminalKeepsWhatWasWritten) {
  Terminal terminal(trying(true));
  ASSERT_TRUE(terminal.wait_for("ready"));
  EXPECT_EQ(terminal.hang_up(), 128 + SIGHUP);
  EXPECT_FALSE(mounted());
  EXPECT_TRUE(wait_until([&] { return everything_has_ended(); }));
  expect_kept();
}

TEST_F(Ends, TryWithoutItsTerminalAtTheQuestion) {
  Terminal terminal(command_line("try " + disk_ +
                                 " diskp2 -- sh -c 'printf MARK | dd of={} conv=notrunc "
                                 "status=none'"));
  ASSERT_TRUE(terminal.wait_for("[c/d/k]"));
  EXPECT_EQ(terminal.hang_up(), 128 + SIGHUP);
  expect_kept();
}

TEST_F(Ends, TryThatIsToldToEndAsksNothing) {
  Terminal terminal(trying(true));
  ASSERT_TRUE(terminal.wait_for("ready"));
  ::kill(terminal.process(), SIGTERM);
  EXPECT_TRUE(terminal.wait_for("are kept in"));
  EXPECT_EQ(terminal.finish(), 128 + SIGTERM);
  EXPECT_FALSE(contains(terminal.screen(), "[d/k]")) << terminal.screen();
  EXPECT_FALSE(mounted());
  expect_kept();
}

/// A source that takes long: 100 MiB that differ, everywhere, from what is below.
class LongEnds : public Ends {
 protected:
  void SetUp() override {
    Ends::SetUp();
    if (IsSkipped()) return;
    large_ = folder_ / "large.img";
    must_run("truncate -s 100M " + large_ + "; " + PEELFS_PROGRAM " --overlay " + ov_ + " " +
             large_ + " " + at_);
    must_run("head -c 100M /dev/urandom >" + at_ + "/large");
    must_run(PEELFS_PROGRAM " umount " + at_);
  }
  /// The cursor stands where a shell can write its next line.
  static void expect_clean_line(const Terminal& terminal) {
    const std::string& screen = terminal.screen();
    const std::size_t bar = screen.rfind('%');
    const std::size_t clear = screen.rfind("\r\x1b[K");
    EXPECT_TRUE(clear != std::string::npos && clear > bar) << screen;
  }
  std::string large_;
};

TEST_F(LongEnds, CtrlCInDiff) {
  Terminal terminal("exec " PEELFS_PROGRAM " diff --overlay " + ov_ + " " + large_);
  ASSERT_TRUE(terminal.wait_for("comparing"));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 128 + SIGINT);
  expect_clean_line(terminal);
  EXPECT_TRUE(terminal.echoes());
  must_run("qemu-img check -q " + ov_ + "/large.qcow2");
}

TEST_F(LongEnds, CtrlCInCommitSaysWhereItStands) {
  must_run("qemu-img convert -O raw " + ov_ + "/large.qcow2 " + (folder_ / "want"));
  Terminal terminal("exec " PEELFS_PROGRAM " commit --overlay " + ov_ + " " + large_);
  ASSERT_TRUE(terminal.wait_for("writing"));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 128 + SIGINT);
  // Which of the two it is depends on the moment.
  const std::string finish = "finish it: peelfs commit --overlay " + ov_ + " " + large_;
  EXPECT_TRUE(contains(terminal.screen(), finish) ||
              contains(terminal.screen(), "nothing is written"))
      << terminal.screen();
  EXPECT_TRUE(terminal.echoes());
  must_run(PEELFS_PROGRAM " commit --overlay " + ov_ + " " + large_);
  EXPECT_EQ(sha256(read_file(large_)), sha256(read_file(folder_ / "want")));
}

TEST_F(LongEnds, CtrlCInExportSaysWhatThereIs) {
  const std::string copy = folder_ / "copy";
  Terminal terminal("exec " PEELFS_PROGRAM " export --overlay " + ov_ + " " + large_ + " large " +
                    copy);
  ASSERT_TRUE(terminal.wait_for("%"));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 128 + SIGINT);
  EXPECT_TRUE(contains(terminal.screen(), "incomplete")) << terminal.screen();
  EXPECT_LT(fs::file_size(copy), 100U << 20U);
  EXPECT_TRUE(terminal.echoes());
}

TEST_F(LongEnds, CtrlCInTheDiffOfTry) {
  Terminal terminal(
      command_line("try " + large_ + " large -- sh -c 'head -c 100M /dev/urandom >{}'"));
  ASSERT_TRUE(terminal.wait_for("comparing"));
  terminal.type("\x03");
  EXPECT_TRUE(terminal.wait_for("are kept in"));
  EXPECT_EQ(terminal.finish(), 128 + SIGINT);
  EXPECT_EQ(kept().size(), 1U);
  EXPECT_FALSE(mounted());
}

TEST_F(Ends, CtrlCInCat) {
  must_run("truncate -s 1T " + (folder_ / "huge.img"));
  Terminal terminal("exec " PEELFS_PROGRAM " cat " + (folder_ / "huge.img") + " huge >" +
                    (folder_ / "tmp") + "/out");
  ASSERT_TRUE(wait_until([&] { return fs::exists(folder_ / "tmp/out"); }));
  ASSERT_TRUE(wait_until([&] { return fs::file_size(folder_ / "tmp/out") > 0; }));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 128 + SIGINT);
  EXPECT_TRUE(terminal.echoes());
}

}  // namespace
}  // namespace peelfs::test
