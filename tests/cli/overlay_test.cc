// Overlays by the real program: mount, diff, commit, drop, checkpoint, revert and try.
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "cli/overlays.h"

namespace peelfs::test {
namespace {

TEST_F(Overlays, MountDiffCommit) {
  write_through_mount();
  untouched();
  must_run("qemu-img check -q " + ov_ + "/disk.qcow2");

  const Outputs text = with("diff", disk_);
  EXPECT_EQ(text.exit_code, 0) << text.errors;
  EXPECT_TRUE(contains(text.output, "diskp2  512B in 1 range")) << text.output;
  EXPECT_FALSE(contains(text.output, "diskp1")) << text.output;
  const auto json = nlohmann::json::parse(with("diff", "--json " + disk_).output);
  ASSERT_EQ(json.at("devices").size(), 2U);
  EXPECT_EQ(json.at("devices")[1].at("name"), "diskp2");
  EXPECT_EQ(json.at("devices")[1].at("ranges")[0].at("start"), 4608);
  EXPECT_EQ(json.at("devices")[1].at("ranges")[0].at("length"), 512);
  const Outputs dump = with("diff", "--hexdump 4992,32 " + disk_ + " diskp2");
  EXPECT_TRUE(contains(dump.output, "+0000001380")) << dump.output;
  EXPECT_TRUE(contains(dump.output, "MARK")) << dump.output;
  EXPECT_TRUE(contains(dump.output, " 0000001390")) << dump.output;
  EXPECT_EQ(
      peelfs_apart("cat --overlay " + ov_ + " --offset 5000 --length 4 " + disk_ + " diskp2 | cat")
          .output,
      "MARK");
  untouched();

  must_run("qemu-img convert -O raw " + ov_ + "/disk.qcow2 " + (folder_ / "want"));
  const Outputs committed = with("commit", disk_);
  EXPECT_EQ(committed.exit_code, 0) << committed.errors;
  EXPECT_TRUE(contains(committed.output, "verified")) << committed.output;
  EXPECT_EQ(sha256(read_file(disk_)), sha256(read_file(folder_ / "want")));
  EXPECT_TRUE(fs::is_empty(ov_));
}

TEST_F(Overlays, Drop) {
  write_through_mount();
  EXPECT_EQ(with("drop").exit_code, 0);
  EXPECT_TRUE(fs::is_empty(ov_));
  EXPECT_EQ(with("drop").exit_code, 2) << "there is none any more";
  untouched();
}

TEST_F(Overlays, WhatIsMountedIsNamed) {
  must_run(std::string(PEELFS_PROGRAM) + " --overlay " + ov_ + " " + disk_ + " " + at_);
  const std::string foreign = folder_ / "foreign";
  fs::create_directory(foreign);
  write_file(folder_ / "other.img", pattern(1U << 20U, 1));
  must_run(std::string(PEELFS_PROGRAM) + " " + (folder_ / "other.img") + " " + foreign);
  for (const std::string& verb :
       {std::string("commit"), std::string("drop"), std::string("checkpoint"),
        std::string("revert"), std::string("diff")}) {
    const bool named = verb == "checkpoint" || verb == "revert";
    const Outputs refused = with(verb, named ? "x" : disk_);
    EXPECT_EQ(refused.exit_code, 2) << verb;
    EXPECT_TRUE(contains(refused.errors, at_)) << refused.errors;
    EXPECT_FALSE(contains(refused.errors, foreign)) << refused.errors;
  }
  EXPECT_EQ(peelfs("umount " + foreign).exit_code, 0);
  fs::create_directory(folder_ / "second");
  const Outputs second =
      peelfs_apart("--overlay " + ov_ + " " + disk_ + " " + (folder_ / "second"));
  EXPECT_NE(second.exit_code, 0);
  EXPECT_TRUE(contains(second.errors, "in use")) << second.errors;
  EXPECT_TRUE(contains(second.errors, "mounted at " + at_)) << second.errors;
  EXPECT_TRUE(fs::exists(ov_ + "/disk.qcow2"));
  EXPECT_EQ(peelfs("umount " + at_).exit_code, 0);
}

TEST_F(Overlays, ASourceThatIsOnlyLookedAtIsNotCommittedInto) {
  write_through_mount();
  must_run(std::string(PEELFS_PROGRAM) + " " + disk_ + " " + at_);
  const Outputs refused = with("commit", disk_);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "is mounted at " + at_)) << refused.errors;
  EXPECT_EQ(peelfs("umount " + at_).exit_code, 0);
  untouched();
}

TEST_F(Overlays, CheckpointAndRevert) {
  write_through_mount();
  EXPECT_EQ(with("checkpoint", "one").exit_code, 0);
  EXPECT_TRUE(contains(with("checkpoint", "one").errors, "already"));
  EXPECT_TRUE(contains(with("checkpoint", "--list").output, "  one  "));
  must_run(std::string(PEELFS_PROGRAM) + " --overlay " + ov_ + " " + disk_ + " " + at_);
  must_run("printf LATE | dd of=" + at_ + "/diskp2 bs=1 seek=5000 conv=notrunc status=none");
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  const std::string look =
      "cat --overlay " + ov_ + " --offset 5000 --length 4 " + disk_ + " diskp2 | cat";
  EXPECT_EQ(peelfs_apart(look).output, "LATE");
  EXPECT_EQ(with("revert", "two").exit_code, 2);
  EXPECT_EQ(with("revert", "one").exit_code, 0);
  EXPECT_EQ(peelfs_apart(look).output, "MARK");
  must_run("qemu-img check -q " + ov_ + "/disk.qcow2");
  untouched();
}

TEST_F(Overlays, TemporaryLeavesNothing) {
  ::setenv("TMPDIR", (folder_ / "tmp").c_str(), 1);
  must_run(std::string(PEELFS_PROGRAM) + " --overlay-temp " + disk_ + " " + at_);
  ::unsetenv("TMPDIR");
  must_run("printf MARK | dd of=" + at_ + "/diskp2 bs=1 seek=5000 conv=notrunc,fsync status=none");
  EXPECT_EQ(must_run("dd if=" + at_ + "/diskp2 bs=1 skip=5000 count=4 status=none"), "MARK");
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  EXPECT_TRUE(nothing_kept());
  untouched();
}

TEST_F(Overlays, NothingWritesByAccident) {
  const std::vector<std::string> combinations{
      "--rw --overlay " + ov_, "--overlay-temp --rw",
      "-o rw,overlay=" + ov_,  "-o ro,rw",
      "-o ro --overlay-temp",  "--overlay-temp --overlay " + ov_};
  for (const std::string& options : combinations) {
    const Outputs refused = peelfs_apart(options + " " + disk_ + " " + at_);
    EXPECT_EQ(refused.exit_code, 1) << options;
    EXPECT_TRUE(contains(refused.errors, "exclude")) << refused.errors;
  }
  EXPECT_FALSE(fs::exists(ov_));
  write_through_mount();
  must_run(std::string(PEELFS_PROGRAM) + " -o ro --overlay " + ov_ + " " + disk_ + " " + at_);
  EXPECT_NE(run("printf X | dd of=" + at_ + "/diskp2 conv=notrunc status=none").exit_code, 0);
  EXPECT_EQ(must_run("dd if=" + at_ + "/diskp2 bs=1 skip=5000 count=4 status=none"), "MARK");
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  untouched();
}

TEST_F(Overlays, InPlaceNeedsAWritableSource) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write every file";
  fs::permissions(disk_, fs::perms::owner_read);
  const Outputs refused = peelfs_apart("--rw " + disk_ + " " + at_);
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_TRUE(contains(refused.errors, "cannot open " + disk_ + " for writing")) << refused.errors;
  EXPECT_FALSE(is_mounted(at_));
}

/// Kills the commit again and again, at any moment; in the end every byte is there.
TEST_F(Overlays, ACommitThatIsKilledIsFinished) {
  const std::string source = folder_ / "large.img";
  write_file(source, pattern(24U << 20U, 1));
  must_run(std::string(PEELFS_PROGRAM) + " --overlay " + ov_ + " " + source + " " + at_);
  must_run("head -c 20M /dev/urandom | dd of=" + at_ +
           "/large bs=1M seek=2 conv=notrunc status=none");
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  must_run("qemu-img convert -O raw " + ov_ + "/large.qcow2 " + (folder_ / "want"));
  const std::string commit =
      std::string(PEELFS_PROGRAM) + " commit -q --overlay " + ov_ + " " + source;
  for (const char* const delay : {"0.02", "0.05", "0.08", "0.11", "0.15", "0.2"}) {
    run("timeout -s KILL " + std::string(delay) + " " + commit);
  }
  if (fs::exists(ov_ + "/large.qcow2")) must_run(commit);
  EXPECT_FALSE(fs::exists(ov_ + "/large.qcow2"));
  EXPECT_EQ(sha256(read_file(source)), sha256(read_file(folder_ / "want")));
}

TEST_F(Overlays, ACommitThatFailsHalfwaySaysHowToFinishIt) {
  const std::string source = folder_ / "large.img";
  write_file(source, pattern(4U << 20U, 1));
  must_run(std::string(PEELFS_PROGRAM) + " --overlay " + ov_ + " " + source + " " + at_);
  must_run("head -c 3M /dev/urandom | dd of=" + at_ + "/large bs=1M conv=notrunc status=none");
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  must_run("qemu-img convert -O raw " + ov_ + "/large.qcow2 " + (folder_ / "want"));
  const std::string command = "commit --overlay " + ov_ + " " + source;
  const CommandResult failed = run("(trap '' XFSZ; ulimit -f 2048; exec " +
                                   std::string(PEELFS_PROGRAM) + " " + command + ") 2>&1");
  EXPECT_EQ(failed.exit_code, 2) << failed.output;
  EXPECT_TRUE(contains(failed.output, "half done")) << failed.output;
  EXPECT_TRUE(contains(failed.output, "finish it: peelfs " + command)) << failed.output;
  const Outputs dropped = with("drop");
  EXPECT_EQ(dropped.exit_code, 2);
  EXPECT_TRUE(contains(dropped.errors, "finish it: peelfs " + command)) << dropped.errors;
  const Outputs mounted = with("mount", source + " " + at_);
  EXPECT_EQ(mounted.exit_code, 32) << mounted.errors;
  EXPECT_TRUE(contains(mounted.errors, "peelfs " + command)) << mounted.errors;
  must_run(std::string(PEELFS_PROGRAM) + " " + command);
  EXPECT_EQ(sha256(read_file(source)), sha256(read_file(folder_ / "want")));
}

TEST_F(Overlays, AGuestThatWritesIsWarnedOf) {
  SKIP_WITHOUT("qemu-io");
  std::FILE* const guest =
      ::popen(("exec qemu-io -f raw " + disk_ + " >/dev/null 2>&1").c_str(), "w");
  const bool seen = wait_until(
      [&] { return contains(peelfs_apart("ls " + disk_).errors, "is being written by qemu-io"); });
  const Outputs refused = peelfs_apart("--overlay " + ov_ + " " + disk_ + " " + at_);
  const Outputs in_place = peelfs_apart("--rw " + disk_ + " " + at_);
  ::pclose(guest);
  EXPECT_TRUE(seen);
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_TRUE(contains(refused.errors, "qemu-io (pid ")) << refused.errors;
  EXPECT_NE(in_place.exit_code, 0);
  EXPECT_TRUE(contains(in_place.errors, "qemu-io (pid ")) << in_place.errors;
  EXPECT_FALSE(is_mounted(at_));
}

TEST_F(Overlays, InPlaceOneWriterAtATime) {
  Buffer expected = read_file(disk_);
  const auto partition = peelfs_apart("map --json " + disk_ + " diskp2").output;
  const std::uint64_t at = nlohmann::json::parse(partition)[0].at("offset");
  must_run(std::string(PEELFS_PROGRAM) + " --rw " + disk_ + " " + at_);
  must_run("printf MARK | dd of=" + at_ + "/diskp2 bs=1 seek=5000 conv=notrunc,fsync status=none");
  const Bytes mark = as_bytes("MARK");
  std::copy(mark.begin(), mark.end(), expected.begin() + static_cast<std::ptrdiff_t>(at + 5000));
  EXPECT_EQ(sha256(read_file(disk_)), sha256(expected)) << "fsync brought it there";
  fs::create_directory(folder_ / "second");
  for (const std::string& options : {std::string("--rw"), "--overlay " + ov_}) {
    const Outputs second = peelfs_apart(options + " " + disk_ + " " + (folder_ / "second"));
    EXPECT_EQ(second.exit_code, 32) << options;
    EXPECT_TRUE(contains(second.errors, "in use")) << second.errors;
  }
  EXPECT_TRUE(contains(peelfs_apart("ls " + disk_).errors, "is being written by"));
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  EXPECT_EQ(sha256(read_file(disk_)), sha256(expected)) << "and nothing else";
}

TEST_F(Overlays, OneSourceTwiceOrAnotherSource) {
  const std::string twice = disk_ + " " + disk_;
  const Outputs refused = peelfs_apart("--overlay " + ov_ + " " + twice + " " + at_);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_TRUE(contains(refused.errors, "name it once")) << refused.errors;
  write_through_mount();
  must_run("touch -d @1700000000.25 " + disk_);
  const Outputs touched = peelfs_apart("--overlay " + ov_ + " " + disk_ + " " + at_);
  EXPECT_EQ(touched.exit_code, 32);
  EXPECT_TRUE(contains(touched.errors, ".250000000")) << touched.errors;
}

TEST_F(Overlays, AmbiguousNamesAreToldFromUnknownOnes) {
  fs::copy_file(disk_, folder_ / "copy.img");
  const std::string both = disk_ + " " + (folder_ / "copy.img");
  const Outputs two = peelfs_apart("map " + both + " LABEL=cliroot");
  EXPECT_EQ(two.exit_code, 2);
  EXPECT_TRUE(contains(two.errors, "more than one device")) << two.errors;
  EXPECT_TRUE(contains(two.errors, "copyp1")) << two.errors;
  const Outputs none = peelfs_apart("map " + both + " LABEL=nobody");
  EXPECT_TRUE(contains(none.errors, "there is no device")) << none.errors;
  EXPECT_FALSE(contains(none.errors, "more than one")) << none.errors;
}

/// mount(8) adds rw to every entry of fstab.
TEST_F(Overlays, FstabWritesOnlyWhenItSaysSo) {
  fs::create_symlink(PEELFS_PROGRAM, folder_ / "mount.fuse.peelfs");
  const std::string helper = (folder_ / "mount.fuse.peelfs") + " " + disk_ + " " + at_ + " -o ";
  const std::string scribble = "printf X | dd of=" + at_ + "/diskp2 conv=notrunc status=none";
  must_run(helper + "rw,noauto");
  EXPECT_NE(run(scribble).exit_code, 0);
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  must_run(helper + "rw,overlay=" + ov_);
  must_run(scribble);
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  untouched();
  must_run(helper + "rw,in-place");
  must_run(scribble);
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  EXPECT_NE(sha256(read_file(disk_)), digest_);
}

TEST_F(Overlays, TryDrop) {
  const Outputs done = try_it("--drop " + disk_ +
                              " diskp1 -- sh -c 'dd if=/dev/zero of={} bs=1k seek=1 count=1 "
                              "conv=notrunc status=none; echo on {}'");
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_TRUE(contains(done.output, "/diskp1")) << "standard output is the command's";
  EXPECT_FALSE(contains(done.output, "superblock"));
  EXPECT_TRUE(contains(done.errors, "superblock")) << done.errors;
  EXPECT_TRUE(nothing_kept());
  untouched();
}

TEST_F(Overlays, TryPassesTheCodeOnAndKeepsWithoutATerminal) {
  const Outputs kept =
      try_it(disk_ +
             " diskp2 -- sh -c 'printf MARK >{}.x; printf MARK | dd of={} conv=notrunc "
             "status=none; exit 7'");
  EXPECT_EQ(kept.exit_code, 7) << kept.errors;
  EXPECT_TRUE(contains(kept.errors, "are kept in " + (folder_ / "tmp"))) << kept.errors;
  EXPECT_TRUE(contains(kept.errors, "peelfs commit --overlay")) << kept.errors;
  EXPECT_FALSE(nothing_kept());
  untouched();
}

TEST_F(Overlays, TryCommitsOnlyWhatWentWell) {
  const std::string mark = "printf MARK | dd of={} bs=1 seek=5000 conv=notrunc status=none";
  const Outputs failed = try_it("--commit " + disk_ + " diskp2 -- sh -c '" + mark + "; exit 1'");
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_TRUE(contains(failed.errors, "not committed")) << failed.errors;
  untouched();
  const Outputs done = try_it("--commit " + disk_ + " diskp2 -- sh -c '" + mark + "'");
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_EQ(peelfs_apart("cat --offset 5000 --length 4 " + disk_ + " diskp2 | cat").output, "MARK");
}

TEST_F(Overlays, TryRepairsAFilesystem) {
  SKIP_WITHOUT("e2fsck");
  must_run("PATH=$PATH:/usr/sbin; " + std::string(PEELFS_PROGRAM) + " export " + disk_ +
           " diskp1 " + (folder_ / "plain"));
  // The count of free blocks: an error that e2fsck corrects, and ends with 1.
  must_run("PATH=$PATH:/usr/sbin; debugfs -w -R 'ssv free_blocks_count 7' " + (folder_ / "plain") +
           "; dd if=" + (folder_ / "plain") + " of=" + disk_ +
           " bs=1M seek=1 conv=notrunc status=none");
  const std::string before = sha256(read_file(disk_));
  const Outputs done = try_it("--commit " + disk_ + " diskp1 -- e2fsck -fy {}");
  EXPECT_EQ(done.exit_code, 1) << done.errors;
  EXPECT_TRUE(contains(done.errors, "verified")) << done.errors;
  EXPECT_NE(sha256(read_file(disk_)), before);
  EXPECT_EQ(try_it("--drop " + disk_ + " diskp1 -- e2fsck -fn {}").exit_code, 0);
}

TEST_F(Overlays, TryKeep) {
  const Outputs kept = try_it("--keep " + ov_ + " " + disk_ +
                              " diskp2 -- sh -c 'printf MARK | dd of={} conv=notrunc status=none'");
  EXPECT_EQ(kept.exit_code, 0) << kept.errors;
  EXPECT_TRUE(fs::exists(ov_ + "/disk.qcow2"));
  EXPECT_TRUE(contains(with("diff", disk_).output, "diskp2"));
  untouched();
}

TEST_F(Overlays, TryNothingChanged) {
  const Outputs done = try_it(disk_ + " diskp1 -- true {}");
  EXPECT_EQ(done.exit_code, 0);
  EXPECT_TRUE(contains(done.errors, "nothing is changed")) << done.errors;
  EXPECT_TRUE(nothing_kept());
}

TEST_F(Overlays, TryAsks) {
  ::setenv("TMPDIR", (folder_ / "tmp").c_str(), 1);
  Terminal terminal(std::string(PEELFS_PROGRAM) + " try " + disk_ +
                    " diskp2 -- sh -c 'printf MARK | dd of={} conv=notrunc status=none'");
  ::unsetenv("TMPDIR");
  ASSERT_TRUE(terminal.wait_for("[c/d/k]"));
  terminal.type("d\n");
  EXPECT_TRUE(terminal.wait_for("dropped"));
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_TRUE(nothing_kept());
  untouched();
}

TEST_F(Overlays, CtrlCGoesToTheCommand) {
  ::setenv("TMPDIR", (folder_ / "tmp").c_str(), 1);
  // exec: a shell in between would end by the signal, too.
  Terminal terminal("exec " + std::string(PEELFS_PROGRAM) + " try --drop " + disk_ +
                    " diskp2 -- sh -c 'trap \"exit 9\" INT; echo ready {}; sleep 60 & wait'");
  ::unsetenv("TMPDIR");
  ASSERT_TRUE(terminal.wait_for("ready"));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 9) << terminal.screen();
  EXPECT_FALSE(contains(must_run("cat /proc/mounts"), folder_ / "tmp"));
}

TEST_F(Overlays, CtrlCAtTheQuestionKeepsTheOverlayAndNothingElse) {
  ::setenv("TMPDIR", (folder_ / "tmp").c_str(), 1);
  Terminal terminal("exec " + std::string(PEELFS_PROGRAM) + " try " + disk_ +
                    " diskp2 -- sh -c 'printf MARK | dd of={} conv=notrunc status=none'");
  ::unsetenv("TMPDIR");
  ASSERT_TRUE(terminal.wait_for("[c/d/k]"));
  terminal.type("\x03");
  EXPECT_TRUE(terminal.wait_for("are kept in")) << terminal.screen();
  EXPECT_EQ(terminal.finish(), 128 + SIGINT);
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(folder_ / "tmp")) left.push_back(entry.path());
  ASSERT_EQ(left.size(), 1U);
  EXPECT_TRUE(fs::exists(left.front() / "disk.qcow2"));
  untouched();
}

TEST_F(Overlays, TryHasAnOverlayOfItsOwn) {
  EXPECT_FALSE(contains(peelfs_apart("try --help").output, "\n  --overlay"));
  EXPECT_TRUE(contains(peelfs_apart("cat --help").output, "\n  --overlay DIR"));
}

TEST_F(Overlays, TryCodes) {
  EXPECT_EQ(try_it(disk_ + " diskp1 -- /no/such/program {}").exit_code, 127);
  EXPECT_EQ(try_it(disk_ + " diskp1 -- " + disk_ + " {}").exit_code, 126);
  EXPECT_EQ(try_it(disk_ + " diskp9 -- true {}").exit_code, 125);
  EXPECT_EQ(try_it(disk_ + " diskp1 -- true").exit_code, 125);
  EXPECT_EQ(try_it(disk_ + " diskp1").exit_code, 125);
  EXPECT_EQ(try_it("--drop --commit " + disk_ + " diskp1 -- true {}").exit_code, 125);
  EXPECT_EQ(try_it(disk_ + " diskp1 -- sh -c 'kill -9 $$ # {}'").exit_code, 128 + 9);
  EXPECT_TRUE(nothing_kept());
  untouched();
}

TEST_F(Overlays, WrongInput) {
  struct Case {
    std::string arguments, says;
  };
  for (const Case& wrong :
       {Case{"diff " + disk_, "--overlay DIR"}, Case{"commit " + disk_, "--overlay DIR"},
        Case{"drop", "--overlay DIR"}, Case{"checkpoint x", "--overlay DIR"},
        Case{"checkpoint --overlay " + ov_, "NAME"},
        Case{"checkpoint --overlay " + ov_ + " --list x", "takes no name"},
        Case{"revert --overlay " + ov_ + " a b", "too many"},
        Case{"diff --overlay " + ov_ + " " + disk_, "no directory of overlays"},
        Case{"diff --overlay " + ov_ + " --hexdump 5 " + disk_, "NAME of one device"},
        Case{"diff --overlay " + ov_ + " --hexdump 5,0 " + disk_ + " x", "1 to 16M"},
        Case{"commit --overlay " + ov_ + " " + disk_, "no overlay"},
        Case{"drop --overlay " + ov_, "cannot look into"}}) {
    const Outputs refused = peelfs_apart(wrong.arguments);
    EXPECT_EQ(refused.exit_code, 2) << wrong.arguments;
    EXPECT_TRUE(contains(refused.errors, wrong.says)) << wrong.arguments << ": " << refused.errors;
  }
}

TEST_F(Overlays, TryABtrfsOnTwoDevices) {
  SKIP_WITHOUT("mkfs.btrfs");
  const std::string one = folder_ / "one.img";
  const std::string two = folder_ / "two.img";
  const CommandResult made =
      run("truncate -s 130M " + one + " " + two +
          "; PATH=$PATH:/usr/sbin mkfs.btrfs -q -d raid1 -m raid1 " + one + " " + two);
  if (contains(made.output, "cannot check mount status")) {
    GTEST_SKIP() << "mkfs.btrfs refuses beside a mount whose source this user may not look at";
  }
  ASSERT_EQ(made.exit_code, 0) << made.output;
  const std::string before = sha256(read_file(two));
  const Outputs done =
      try_it("--drop " + one + " " + two +
             " one -- sh -c 'ls /dev; btrfs check --repair --force {} 2>&1; btrfs filesystem show "
             "{}'");
  EXPECT_EQ(done.exit_code, 0) << done.output << done.errors;
  EXPECT_FALSE(contains(done.output, "missing")) << done.output;
  EXPECT_FALSE(contains(done.output, "loop")) << done.output;
  EXPECT_TRUE(contains(done.output, "/mnt/two")) << done.output;
  EXPECT_EQ(sha256(read_file(two)), before);
}

}  // namespace
}  // namespace peelfs::test
