// `peelfs fsck --repair`: what is repaired and how it ends, beside what the checker does on a flat
// copy; and what it must never write.
#include <signal.h>

#include <thread>

#include "fsck/repairs.h"
#include "support/fixtures.h"

namespace peelfs::test {
namespace {

TEST_F(FsckRepair, WhatIsCommittedIsWhatE2fsckMakesOfAFlatCopy) {
  const std::string good = make_ext4("good.img");
  const std::string bad = make_damaged_ext4("bad.img");
  must_run("cp " + bad + " " + (other_ / "flat"));
  const std::string before = digest(good);
  // The same clock, so that all bytes are the same.
  const std::string clock = "E2FSCK_TIME=1700000000";
  EXPECT_EQ(
      run("PATH=$PATH:/sbin:/usr/sbin " + clock + " e2fsck -fy " + (other_ / "flat")).exit_code, 1);
  const Checked checked = fsck("--repair --commit " + images_.path(), clock);
  EXPECT_EQ(checked.exit_code, 1) << checked.errors;
  EXPECT_EQ(checked.state("bad"), "repaired") << checked.reason("bad");
  EXPECT_TRUE(checked.devices.at("bad").at("written").get<bool>());
  EXPECT_TRUE(contains(checked.devices.at("bad").at("change").dump(), "range"));
  EXPECT_EQ(checked.state("good"), "clean");
  EXPECT_EQ(e2fsck(bad), 0);
  EXPECT_EQ(digest(bad), digest(other_ / "flat"));
  EXPECT_EQ(digest(good), before);
  EXPECT_EQ(fsck("--repair --commit " + images_.path()).exit_code, 0);
}

TEST_F(FsckRepair, DroppedItLeavesTheSource) {
  make_damaged_ext4("bad.img");
  remember();
  const Checked checked = fsck("--repair --drop " + images_.path());
  EXPECT_EQ(checked.exit_code, 4) << checked.errors;
  EXPECT_EQ(checked.state("bad"), "errors");
  EXPECT_TRUE(contains(checked.reason("bad"), "it is dropped")) << checked.reason("bad");
  EXPECT_FALSE(checked.devices.at("bad").at("written").get<bool>());
}

TEST_F(FsckRepair, KeptItIsCommittedByTheCommandThatIsTold) {
  SKIP_WITHOUT("qemu-img");
  make_damaged_ext4("bad.img");
  must_run("cd " + images_.path() + " && qemu-img convert -f raw -O qcow2 bad.img 'a bad.qcow2'" +
           " && rm bad.img");
  const std::string kept = other_ / "kept";
  const std::string before = must_run("sha256sum " + images_.path() + "/*.qcow2");
  const Checked checked = fsck("--repair --keep " + kept + " " + images_.path());
  EXPECT_EQ(checked.exit_code, 4) << checked.errors;
  EXPECT_EQ(must_run("sha256sum " + images_.path() + "/*.qcow2"), before);
  EXPECT_EQ(fsck("--repair --keep " + kept + " " + images_.path()).exit_code, 16)
      << "an earlier run's overlays are not continued";
  const auto at = checked.errors.find("  peelfs commit");
  ASSERT_NE(at, std::string::npos) << checked.errors;
  std::string command = checked.errors.substr(at + 2, checked.errors.find('\n', at) - at - 2);
  command.replace(0, 6, PEELFS_PROGRAM);
  must_run(command);
  must_run("qemu-img convert -O raw '" + (images_ / "a bad.qcow2") + "' " + (other_ / "flat"));
  EXPECT_EQ(e2fsck(other_ / "flat"), 0);
}

TEST_F(FsckRepair, AReplayedJournalIsCommittedToo) {
  const std::string image = fixture_image("dirtyext4");
  if (image.empty()) GTEST_SKIP() << "dirtyext4 is not here";
  const std::string dirty = images_ / "dirty.raw";
  must_run("cp --sparse=always " + image + " " + dirty);
  const std::string before = digest(dirty);
  Checked checked = fsck("--repair --drop " + dirty);
  EXPECT_EQ(checked.exit_code, 0) << checked.errors;
  EXPECT_EQ(checked.state("vgdirty-ext4"), "replayed");
  EXPECT_EQ(digest(dirty), before);
  checked = fsck("--repair --commit " + dirty);
  EXPECT_EQ(checked.exit_code, 1) << checked.errors;
  EXPECT_EQ(checked.state("vgdirty-ext4"), "replayed") << checked.reason("vgdirty-ext4");
  EXPECT_TRUE(checked.devices.at("vgdirty-ext4").at("written").get<bool>());
  checked = fsck(dirty);
  EXPECT_EQ(checked.exit_code, 0) << checked.errors;
  EXPECT_EQ(checked.state("vgdirty-ext4"), "clean") << checked.reason("vgdirty-ext4");
}

TEST_F(FsckRepairNested, InsideAndOutside) {
  for (const bool damaged : {false, true}) {
    const std::string outer = make_outer(damaged);
    const Checked checked = fsck("--repair --commit " + outer);
    EXPECT_EQ(checked.exit_code, 1) << checked.errors;
    EXPECT_EQ(checked.state("outer"), damaged ? "repaired" : "clean") << checked.reason("outer");
    EXPECT_EQ(checked.state("guest"), "repaired") << checked.reason("guest");
    EXPECT_EQ(e2fsck(outer), 0);
    EXPECT_EQ(e2fsck(inner_of(outer)), 0);
  }
}

TEST_F(FsckRepair, XfsAndFat) {
  SKIP_WITHOUT("mkfs.xfs");
  SKIP_WITHOUT("mkfs.vfat");
  const std::string xfs = images_ / "x.img";
  const std::string fat = images_ / "f.img";
  must_run("PATH=$PATH:/sbin:/usr/sbin; truncate -s 320M " + xfs + " && mkfs.xfs -q " + xfs +
           " && xfs_db -x -c 'agi 0' -c 'write -d freecount 3' " + xfs + " 2>&1");
  must_run("PATH=$PATH:/sbin:/usr/sbin; truncate -s 32M " + fat + " && mkfs.vfat -R 8 -f 1 " + fat);
  // The chain of a cluster that no file has.
  must_run("printf 'UU' | dd status=none bs=1 seek=$((8*512+20)) conv=notrunc of=" + fat);
  EXPECT_EQ(run("PATH=$PATH:/sbin:/usr/sbin xfs_repair -n " + xfs + " 2>&1").exit_code, 1);
  EXPECT_EQ(run("PATH=$PATH:/sbin:/usr/sbin fsck.fat -n " + fat).exit_code, 1);
  EXPECT_EQ(fsck(images_.path()).state("x"), "errors");
  EXPECT_EQ(fsck(images_.path()).state("f"), "errors");
  const Checked checked = fsck("--repair --commit " + images_.path());
  EXPECT_EQ(checked.exit_code, 1) << checked.errors;
  EXPECT_EQ(checked.state("x"), "repaired") << checked.reason("x");
  EXPECT_EQ(checked.state("f"), "repaired") << checked.reason("f");
  EXPECT_EQ(run("PATH=$PATH:/sbin:/usr/sbin xfs_repair -n " + xfs + " 2>&1").exit_code, 0);
  EXPECT_EQ(run("PATH=$PATH:/sbin:/usr/sbin fsck.fat -n " + fat).exit_code, 0);
}

TEST_F(FsckRepair, BothDevicesOfABtrfs) {
  SKIP_WITHOUT("mkfs.btrfs");
  SKIP_WITHOUT("python3");
  const std::string both = (images_ / "one.img") + " " + (images_ / "two.img");
  must_run("truncate -s 128M " + both + " && mkfs.btrfs -q -d raid1 -m raid1 " + both);
  damage_btrfs(both);
  EXPECT_EQ(fsck(both).state("one"), "errors");
  const Checked half = fsck("--repair --commit " + (images_ / "one.img"));
  EXPECT_EQ(half.exit_code, 8) << half.errors;
  EXPECT_EQ(half.state("one"), "skipped") << "never one of two";
  const Checked checked = fsck("--repair --commit " + both);
  EXPECT_EQ(checked.exit_code, 1) << checked.errors;
  EXPECT_EQ(checked.state("one"), "repaired") << checked.reason("one");
  EXPECT_EQ(fsck(both).state("one"), "clean");
}

TEST_F(FsckRepair, InPlace) {
  const std::string bad = make_damaged_ext4("bad.img");
  const std::string good = make_ext4("good.img");
  const std::string before = digest(good);
  const Checked checked = fsck("--rw --repair " + images_.path());
  EXPECT_EQ(checked.exit_code, 1) << checked.errors;
  EXPECT_EQ(checked.state("bad"), "repaired") << checked.reason("bad");
  EXPECT_EQ(e2fsck(bad), 0);
  EXPECT_EQ(digest(good), before);
}

TEST_F(FsckRepair, APersonIsAskedForEachSource) {
  const std::string a = make_damaged_ext4("a.img");
  const std::string b = make_damaged_ext4("b.img");
  const std::string c = make_damaged_ext4("c.img");
  const std::string dropped = digest(b);
  const std::string kept = digest(c);
  Terminal person(place() + "exec " PEELFS_PROGRAM " fsck -j 1 --repair " + images_.path());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(person.wait_for("Commit this into ")) << person.screen();
    const std::string& screen = person.screen();
    const std::string source = screen.substr(screen.rfind("Commit this into ") + 17);
    ASSERT_TRUE(person.wait_for("[c/d/k/s] "));
    // Mistyped words answer nothing.
    for (const char* const word : {"y\n", "commmit\n", "\n", "C\n"}) {
      person.type(word);
      ASSERT_TRUE(person.wait_for("none of the answers")) << person.screen();
      ASSERT_TRUE(person.wait_for("[c/d/k/s] "));
    }
    person.type("s\n");
    ASSERT_TRUE(person.wait_for("directory /d\r\n")) << person.screen();
    ASSERT_TRUE(person.wait_for("[c/d/k/s] "));
    person.type(source.find("a.img") != std::string::npos   ? "commit\n"
                : source.find("b.img") != std::string::npos ? "d\n"
                                                            : "k\n");
  }
  EXPECT_EQ(person.finish(), 1 | 4) << person.screen();
  EXPECT_EQ(e2fsck(a), 0);
  EXPECT_EQ(digest(b), dropped);
  EXPECT_EQ(digest(c), kept);
  EXPECT_EQ(run("ls -A " + scratch_.path() + " | wc -l").output, "1\n") << "what is kept";
  must_run("rm -r " + scratch_.path() + "/peelfs-repair-*");
}

// Between the second check and the answer somebody has used the source.
TEST_F(FsckRepair, ASourceThatHasChangedMeanwhileIsNotWritten) {
  const std::string bad = make_damaged_ext4("bad.img");
  Terminal person(place() + "exec " PEELFS_PROGRAM " fsck --repair " + images_.path());
  ASSERT_TRUE(person.wait_for("[c/d/k/s] ")) << person.screen();
  must_run("debugfs -w -R 'mkdir /new' " + bad + " 2>&1");
  const std::string changed = digest(bad);
  person.type("c\n");
  EXPECT_EQ(person.finish() & 12, 12) << person.screen();
  EXPECT_EQ(digest(bad), changed);
  must_run("rm -r " + scratch_.path() + "/peelfs-repair-*");
}

TEST_F(FsckRepair, WithoutAnAnswerItIsKept) {
  make_damaged_ext4("a.img");
  make_damaged_ext4("b.img");
  remember();
  for (const bool hang_up : {false, true}) {
    Terminal person(place() + "exec " PEELFS_PROGRAM " fsck --repair " + images_.path());
    ASSERT_TRUE(person.wait_for("[c/d/k/s] ")) << person.screen();
    if (hang_up) {
      person.hang_up();
    } else {
      person.type("\x03");
      EXPECT_EQ(person.finish() & 32, 32) << person.screen();
      EXPECT_TRUE(contains(person.screen(), "What next")) << person.screen();
    }
    EXPECT_FALSE(contains(run("cat /proc/self/mounts").output, scratch_.path()));
    must_run("rm -rf " + scratch_.path() + "/peelfs-repair-*");
  }
}

TEST_F(FsckRepair, WhatCannotBeWrittenIsNotRepairedInVain) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everything";
  const std::string bad = make_damaged_ext4("bad.img");
  must_run("chmod 400 " + bad);
  remember();
  for (const char* const how : {"--commit", "--rw"}) {
    const Checked checked = fsck(std::string("--repair ") + how + " " + bad);
    EXPECT_EQ(checked.exit_code, 4) << checked.errors;
    EXPECT_TRUE(contains(checked.reason("bad"), "not repaired: ")) << checked.reason("bad");
    EXPECT_TRUE(contains(checked.reason("bad"), "Permission denied")) << checked.reason("bad");
  }
}

TEST_F(FsckRepair, AWrongCommandLineIsUsage) {
  const std::string bad = make_damaged_ext4("bad.img");
  remember();
  must_run("mkdir " + (other_ / "full") + " && touch " + (other_ / "full/x"));
  for (const std::string& options :
       {std::string("--commit"), std::string("--drop"), std::string("--rw"),
        "--keep " + (other_ / "k"), std::string("--repair"),
        std::string("--repair --commit --drop"), std::string("--repair --rw --commit"),
        std::string("--repair --keep ''"), "--repair --keep " + (other_ / "full"),
        "--repair --keep " + (other_ / "no/where"), "--repair --keep " + bad,
        std::string("--repair=1 --commit")}) {
    const CommandResult done =
        run(place() + PEELFS_PROGRAM " fsck " + options + " " + bad + " </dev/null 2>&1");
    EXPECT_EQ(done.exit_code, 16) << options << done.output;
  }
}

TEST_F(FsckRepair, NoSourceIsOpenedForWritingUnlessItIsCommitted) {
  SKIP_WITHOUT("strace");
  const std::string bad = make_damaged_ext4("bad.img");
  remember();
  const std::string trace = other_ / "trace";
  const CommandResult done =
      run(place() + "strace -f -qq -o " + trace +
          " -e trace=open,openat,openat2,creat " PEELFS_PROGRAM " fsck --repair --drop " + bad +
          " </dev/null");
  if (contains(done.output, "fusermount3 must be set-user-id root") && ::geteuid() != 0) {
    GTEST_SKIP() << "what is traced gets no privileges here";
  }
  EXPECT_EQ(done.exit_code, 4) << done.output;
  EXPECT_EQ(run("grep -F '" + bad + "' " + trace + " | grep -E 'O_RDWR|O_WRONLY'").output, "");
}

TEST_F(FsckRepair, KilledAtAnyMomentNothingIsWritten) {
  for (const char* const name : {"a.img", "b.img", "c.img", "d.img"}) make_damaged_ext4(name);
  remember();
  for (int round = 0; round < 8; ++round) {
    const std::string wait = "0." + std::to_string(1 + round);
    const std::string signal = round % 2 == 0 ? "KILL" : "TERM";
    run(place() + "timeout -s " + signal + " " + wait +
        " " PEELFS_PROGRAM " fsck -q --repair --drop " + images_.path() +
        " </dev/null >/dev/null 2>&1");
    EXPECT_TRUE(wait_until([&] {
      return !contains(run("cat /proc/self/mounts").output, scratch_.path()) &&
             run("ls -A " + scratch_.path() + " | grep -v peelfs-repair").output.empty();
    })) << wait
        << run("find " + scratch_.path()).output;
    // Between two mounts there is no process that could take an overlay away when all is killed.
    if (signal == "TERM") {
      EXPECT_EQ(run("ls -A " + scratch_.path()).output, "") << wait;
    }
    run("rm -rf " + scratch_.path() + "/peelfs-repair-*");
  }
}

}  // namespace
}  // namespace peelfs::test
