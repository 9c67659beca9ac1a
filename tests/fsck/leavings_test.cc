// What `peelfs fsck` leaves: its reports, and nothing else, however it ends.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include "fsck/fleet.h"

namespace peelfs::test {
namespace {

using FsckLeavings = FsckFleet;

TEST_F(FsckLeavings, LogsHoldTheCommandAndItsOutput) {
  make_ext4("a.img");
  remember();
  const std::string logs = other_ / "logs";
  EXPECT_EQ(fsck("--log " + logs + " " + (images_ / "a.img")).exit_code, 0);
  const std::string log = run("cat " + logs + "/a.img.a.log").output;
  EXPECT_TRUE(contains(log, "/e2fsck -f -n -C 1 ")) << log;
  EXPECT_TRUE(contains(log, "Pass 5")) << log;
  EXPECT_FALSE(contains(log, "\n1 ")) << "lines for programs are not for people: " << log;
  // Once more: it is ours, and may be overwritten.
  EXPECT_EQ(fsck("--log " + logs + " " + (images_ / "a.img")).exit_code, 0);
  EXPECT_EQ(run("cat " + logs + "/a.img.a.log").output.substr(0, 30), log.substr(0, 30));
}

TEST_F(FsckLeavings, ALogOverwritesNothingElse) {
  const std::string source = make_ext4("a.img");
  remember();
  const std::string logs = other_ / "logs";
  for (const std::string& there :
       {"echo precious > " + logs + "/a.img.a.log", "ln -s " + source + " " + logs + "/a.img.a.log",
        "ln " + source + " " + logs + "/a.img.a.log 2>/dev/null || echo precious > " + logs +
            "/a.img.a.log"}) {
    must_run("rm -rf " + logs + " && mkdir " + logs + " && " + there);
    const std::string before = run("sha256sum " + logs + "/*").output;
    const Checked checked = fsck("--log " + logs + " " + source);
    EXPECT_EQ(checked.exit_code, 8) << there;
    EXPECT_EQ(checked.state("a"), "clean") << "the check itself does not depend on it";
    EXPECT_EQ(run("sha256sum " + logs + "/*").output, before) << there;
  }
  must_run("rm -rf " + logs);
}

TEST_F(FsckLeavings, JUnitIsXmlAndNoSource) {
  SKIP_WITHOUT("python3");
  SKIP_WITHOUT("debugfs");
  const std::string good = make_ext4("good.img");
  must_run("mv " + make_damaged_ext4("bad.img") + " '" + (images_ / "bad<&\".img") + "'");
  remember();
  const std::string report = other_ / "report.xml";
  EXPECT_EQ(fsck("--junit " + report + " " + images_.path()).exit_code, 4);
  const std::string told = must_run(
      "python3 -c 'import sys, xml.etree.ElementTree as t\n"
      "for s in t.parse(sys.argv[1]).getroot():\n"
      "  print(s.get(\"name\")[-4:], s.get(\"tests\"), s.get(\"failures\"), "
      "len(s.findall(\".//failure\")))' " +
      report);
  EXPECT_EQ(told, ".img 1 1 1\n.img 1 0 0\nelfs 1 0 0\n");
  EXPECT_EQ(fsck("--junit " + good + " " + images_.path()).exit_code, 16) << "it is a source";
  EXPECT_EQ(fsck("--junit " + report + " " + good).exit_code, 0) << "it is ours";
  must_run("echo precious > " + (other_ / "precious"));
  EXPECT_EQ(fsck("--junit " + (other_ / "precious") + " " + good).exit_code, 16);
  EXPECT_EQ(run("cat " + (other_ / "precious")).output, "precious\n");
  EXPECT_EQ(fsck("--junit " + (other_ / "none/report.xml") + " " + good).exit_code, 8);
}

TEST_F(FsckLeavings, ASourceThatCannotBeOpenedIsInEveryReport) {
  SKIP_WITHOUT("python3");
  make_ext4("good.img");
  remember();
  const std::string report = other_ / "report.xml";
  const Checked checked =
      fsck("--junit " + report + " " + (images_ / "good.img") + " " + (images_ / "gone.img"));
  EXPECT_EQ(checked.exit_code, 8);
  EXPECT_TRUE(contains(checked.errors, "gone.img")) << checked.errors;
  EXPECT_TRUE(contains(run("cat " + (other_ / "out.json")).output, "gone.img: No such file"));
  EXPECT_TRUE(contains(run("cat " + report).output, "<error message=\"")) << "in JUnit's report";
}

TEST_F(FsckLeavings, NoSourceIsOpenedForWriting) {
  SKIP_WITHOUT("strace");
  const std::string source = make_ext4("a.img");
  remember();
  const std::string trace = other_ / "trace";
  const CommandResult done =
      run(place() + "strace -f -qq -o " + trace +
          " -e trace=open,openat,openat2,creat " PEELFS_PROGRAM " fsck " + source + " </dev/null");
  if (done.exit_code != 0 && contains(run("cat " + trace).output, "EPERM")) {
    GTEST_SKIP() << "what is traced gets no privileges here";
  }
  const std::string opened =
      run("grep -F '" + source + "' " + trace + " | grep -E 'O_RDWR|O_WRONLY'").output;
  EXPECT_EQ(opened, "");
  EXPECT_TRUE(contains(run("grep -c -F '" + source + "' " + trace).output, "")) << done.output;
}

/// A fleet that takes a second or so.
std::string many(const TemporaryDirectory& folder) {
  must_run(
      "cd " + folder.path() +
      " && for i in 1 2 3 4 5 6; do truncate -s 64M g$i.img && mke2fs -q -F -t ext4 g$i.img; done");
  return folder.path();
}

TEST_F(FsckLeavings, ClosedDescriptors) {
  const std::string source = make_ext4("a.img");
  remember();
  const std::string command = place() + PEELFS_PROGRAM " fsck --json " + source;
  EXPECT_EQ(run(command + " 2>&-").exit_code, 0);
  EXPECT_EQ(run(command + " <&- 2>&-").exit_code, 0);
  EXPECT_EQ(run(command + " >&-").exit_code, 8) << "the results would be lost";
}

TEST_F(FsckLeavings, CtrlCEndsAllOfIt) {
  many(images_);
  remember();
  for (const int wait : {50, 200, 400, 700}) {
    Terminal person(place() + "exec " PEELFS_PROGRAM " fsck -j 2 " + images_.path());
    std::this_thread::sleep_for(std::chrono::milliseconds(wait));
    person.type("\x03");
    const int code = person.finish();
    EXPECT_TRUE(code == 0 || (code & 32) != 0 || code == 128 + SIGINT)
        << wait << " ms: " << code << "\n"
        << person.screen();
    EXPECT_EQ(run("ls -A " + scratch_.path()).output, "") << wait << " ms";
  }
}

/// The processes of peelfs, and of what it has started, that name the folder: their command lines.
std::string processes_in(const std::string& folder) {
  std::string found;
  std::error_code ignored;
  for (const auto& process : std::filesystem::directory_iterator("/proc", ignored)) {
    std::ifstream file(process.path() / "cmdline");
    std::string line((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::ranges::replace(line, '\0', ' ');
    if (line.find(folder) != std::string::npos) found += line + "\n";
  }
  return found;
}

TEST_F(FsckLeavings, KilledAtAnyMomentItLeavesNothing) {
  many(images_);
  must_run("cp " + (images_ / "g1.img") + " " + (other_ / "copy"));
  remember();
  std::mt19937 random(11);
  for (int round = 0; round < 12; ++round) {
    const auto delay = std::chrono::milliseconds(random() % 900);
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("TMPDIR", scratch_.path().c_str(), 1);
      const std::string quiet =
          "exec " PEELFS_PROGRAM " fsck -q -j 2 " + images_.path() + " </dev/null >/dev/null 2>&1";
      ::execl("/bin/sh", "sh", "-c", quiet.c_str(), nullptr);
      ::_exit(127);
    }
    std::this_thread::sleep_for(delay);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_TRUE(wait_until([&] {
      return run("ls -A " + scratch_.path()).output.empty() &&
             processes_in(images_.path()).empty() && processes_in(scratch_.path()).empty() &&
             !contains(run("cat /proc/self/mounts").output, scratch_.path());
    })) << delay.count()
        << " ms: " << run("find " + scratch_.path()).output << processes_in(images_.path());
  }
}

}  // namespace
}  // namespace peelfs::test
