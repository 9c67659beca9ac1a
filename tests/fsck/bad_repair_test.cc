// Repairs by programs that do not do what they should: nothing of that is committed.
#include <chrono>
#include <cstdlib>

#include "check/repair.h"
#include "cli/fsck/repairs.h"
#include "fsck/repairs.h"
#include "try/loop_device.h"

namespace peelfs::test {
namespace {

using check::State;

/// What the program has done, by the name of the device.
struct Repaired {
  check::Plan plan;
  std::vector<check::Outcome> outcomes;
  const check::Verdict& of(const std::string& device) const {
    for (std::size_t i = 0; i < plan.targets.size(); ++i) {
      if (plan.targets[i].device == device) return outcomes[i].verdict;
    }
    throw std::runtime_error("no " + device);
  }
};

/// `peelfs fsck --repair --commit IMAGE` as the verb does it, with another program in the place of
/// each checker: a script that does what is said, with the device in $DEV and something in $REPAIR
/// where it is to repair, and runs the real checker then.
class FsckBadRepair : public FsckRepairNested {
 protected:
  void SetUp() override {
    FsckRepairNested::SetUp();
    ::setenv("TMPDIR", scratch_.path().c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("TMPDIR");
    FsckRepairNested::TearDown();
  }

  Repaired repaired(const std::string& image, const std::string& what,
                    const std::vector<std::string>& names = {}) const {
    jobs::Spawner spawner;
    cli::FsckOptions options;
    options.quiet = true;
    options.repair = true;
    options.outcome = cli::Outcome::commit;
    options.from.sources = {image};
    PeelRequest request;
    request.sources.push_back(parse_source(image));
    const Peeling peeling(request, std::make_shared<KeyRing>());
    Repaired result;
    result.plan = check::make_plan(peeling, {.names = names,
                                             .only_due = false,
                                             .with_outside = true,
                                             .now = std::chrono::system_clock::now()});
    for (check::Target& target : result.plan.targets) {
      if (target.checker != nullptr) target.program = script(what, target.program);
    }
    check::FleetObserver observer;
    const check::FleetOptions fleet{
        .at_once = 2, .background = false, .memory = 0, .cancelled = {}};
    result.outcomes = check::check_all(peeling, request, result.plan, spawner, fleet, observer);
    const auto repairs = check::repair_all(peeling, request, result.plan, result.outcomes, spawner,
                                           fleet, observer, cli::repair_options(options));
    cli::settle_repairs(options, peeling, request, result.plan, repairs, result.outcomes);
    return result;
  }

  std::string script(const std::string& what, const std::string& real) const {
    const std::string path = other_ / "checker";
    write_file(path, as_bytes("#!/bin/sh\nfor DEV in \"$@\"; do :; done\nREPAIR=\n"
                              "for a in \"$@\"; do [ \"$a\" = -y ] && REPAIR=1; done\n" +
                              what + "\nexec " + real + " \"$@\"\n"));
    must_run("chmod 755 " + path);
    return path;
  }
};

TEST_F(FsckBadRepair, WithAProgramThatDoesItsWorkItIsCommitted) {
  const std::string bad = make_damaged_ext4("bad.img");
  EXPECT_EQ(repaired(bad, "").of("bad").state, State::repaired);
  EXPECT_EQ(e2fsck(bad), 0);
}

TEST_F(FsckBadRepair, NothingIsCommittedThatIsNotCleanWhenCheckedAgain) {
  const std::string bad = make_damaged_ext4("bad.img");
  remember();
  const std::string writes = " of=$DEV bs=1k conv=notrunc 2>/dev/null; exit 1; }";
  for (const std::string& what :
       {std::string("[ \"$REPAIR\" ] && exit 1"),  // it did nothing
        "[ \"$REPAIR\" ] && { dd if=/dev/urandom seek=1 count=64" + writes,
        "[ \"$REPAIR\" ] && { dd if=/dev/zero count=64" + writes,  // there is no ext4 any more
        std::string("[ \"$REPAIR\" ] && exit 4"), std::string("[ \"$REPAIR\" ] && exit 8"),
        std::string("[ \"$REPAIR\" ] && kill -9 $$")}) {
    const check::Verdict verdict = repaired(bad, what).of("bad");
    EXPECT_EQ(verdict.state, State::errors) << what;
    EXPECT_TRUE(contains(verdict.why, "not repaired: ")) << what << verdict.why;
    EXPECT_EQ(run("ls -A " + scratch_.path()).output, "") << what;
  }
}

TEST_F(FsckBadRepair, WhatCannotBeRepairedDoesNotKeepTheOthersFromIt) {
  const std::string a = make_damaged_ext4("a.img");
  const std::string b = make_damaged_ext4("b.img");
  const std::string disk = make_disk_of("disk.img", a, b);
  must_run("rm " + a + " " + b);
  const std::string before = digest(partition_of(disk, 2));
  const Repaired done = repaired(disk,
                                 "case \"$REPAIR$DEV\" in 1*p2) dd if=/dev/urandom of=$DEV bs=1k "
                                 "seek=9 count=9 conv=notrunc 2>/dev/null; exit 4;; esac");
  EXPECT_EQ(done.of("diskp1").state, State::repaired) << done.of("diskp1").why;
  EXPECT_EQ(done.of("diskp2").state, State::errors);
  EXPECT_EQ(e2fsck(partition_of(disk, 1)), 0);
  EXPECT_EQ(digest(partition_of(disk, 2)), before) << "not one byte of the failed repair";
}

TEST_F(FsckBadRepair, WhatWritesToItsNeighbourIsNotCommitted) {
  const std::string a = make_damaged_ext4("a.img");
  const std::string b = make_ext4("b.img");
  const std::string disk = make_disk_of("disk.img", a, b);
  remember();
  const Repaired done = repaired(disk,
                                 "case \"$REPAIR$DEV\" in 1*p1) dd if=/dev/urandom of=${DEV%1}2 "
                                 "bs=1k seek=1 count=200 conv=notrunc 2>/dev/null;; esac");
  EXPECT_EQ(done.of("diskp1").state, State::errors);
  EXPECT_TRUE(contains(done.of("diskp1").why, "diskp2 would not be as it was"))
      << done.of("diskp1").why;
}

TEST_F(FsckBadRepair, NothingIsWrittenIntoWhatStaysDamaged) {
  const std::string outer = make_outer(true);
  remember();
  const Repaired done = repaired(outer, "case \"$REPAIR$DEV\" in 1*outer) exit 4;; esac");
  EXPECT_EQ(done.of("outer").state, State::errors);
  EXPECT_EQ(done.of("guest").state, State::errors);
  EXPECT_TRUE(contains(done.of("guest").why, "it lies within outer, which is damaged"))
      << done.of("guest").why;
}

// A repair of the outer filesystem takes the guest's image away.
TEST_F(FsckBadRepair, ARepairThatTakesAnImageAwayIsNotCommitted) {
  const std::string outer = make_outer(true);
  remember();
  const Repaired done = repaired(
      outer,
      "case \"$REPAIR$DEV\" in 1*outer) PATH=$PATH:/sbin:/usr/sbin debugfs -w -R 'rm /guest.raw' "
      "$DEV >/dev/null 2>&1;; esac");
  EXPECT_EQ(done.of("outer").state, State::errors) << done.of("outer").why;
  EXPECT_EQ(done.of("guest").state, State::errors) << done.of("guest").why;
}

// The first block of the guest's image is also a block of another file: to write the guest there
// would write that file.
TEST_F(FsckBadRepair, NothingIsWrittenThroughWhatWasNotAskedFor) {
  const std::string outer = make_outer(false);
  const auto block = [&](const std::string& file, int number) {
    std::string text = must_run("debugfs -R 'bmap " + file + " " + std::to_string(number) + "' " +
                                outer + " 2>/dev/null");
    text.erase(text.find_last_not_of(" \n") + 1);
    return text;
  };
  must_run("debugfs -w -R 'sif /lost block[IND] 0' " + outer + " 2>&1");
  // An extent of one block: its place in the inode's i_block[] is the second word of the leaf.
  must_run("debugfs -w -R 'sif /lost block[5] " + block("/guest.raw", 1) + "' " + outer + " 2>&1");
  ASSERT_EQ(block("/lost", 0), block("/guest.raw", 1));
  remember();
  const Repaired done = repaired(outer, "", {"guest"});
  EXPECT_EQ(done.of("guest").state, State::errors) << done.of("guest").why;
  EXPECT_TRUE(contains(done.of("guest").why, "it lies within outer, which is damaged"))
      << done.of("guest").why;
  EXPECT_TRUE(contains(done.of("guest").why, "name that, too"));
  const Checked due = fsck("--repair --drop --due " + outer);
  EXPECT_NE(due.state("outer"), "listed") << "the guest is due, and lies within it";
}

// What cannot be read is no damage, and a repair would make it true.
TEST_F(FsckBadRepair, WhatCannotBeReadIsNotRepaired) {
  SKIP_WITHOUT("qemu-img");
  const std::string bad = make_damaged_ext4("bad.img");
  const std::string image = images_ / "c.qcow2";
  must_run("qemu-img convert -c -f raw -O qcow2 " + bad + " " + image + " && rm " + bad);
  // A compressed cluster that does not unpack: behind the first ones, so that it is found.
  must_run("python3 - " + image + R"( <<'PYTHON'
import struct, sys
with open(sys.argv[1], 'r+b') as disk:
    header = disk.read(104)
    l1 = struct.unpack_from('>Q', header, 40)[0]
    disk.seek(l1)
    l2 = struct.unpack('>Q', disk.read(8))[0] & 0xfffffffffffe00
    disk.seek(l2)
    entries = struct.unpack('>8192Q', disk.read(65536))
    packed = [e for e in entries if e & (1 << 62)]
    disk.seek((packed[1] & ((1 << 54) - 1)) + 20)
    disk.write(b'\xff' * 40)
PYTHON)");
  remember();
  const Checked checked = fsck("--repair --commit " + image);
  EXPECT_EQ(checked.exit_code, 8) << checked.errors;
  EXPECT_EQ(checked.state("c"), "failed") << checked.reason("c");
  EXPECT_TRUE(contains(checked.reason("c"), "read of ")) << checked.reason("c");
}

TEST_F(FsckBadRepair, AnOverlayThatSomebodyHasWrittenIsNotCommitted) {
  const std::string bad = make_damaged_ext4("bad.img");
  remember();
  Terminal person(place() + "exec " PEELFS_PROGRAM " fsck --repair " + images_.path());
  ASSERT_TRUE(person.wait_for("[c/d/k/s] ")) << person.screen();
  must_run("printf X | dd status=none conv=notrunc bs=1 seek=100000 of=$(echo " + scratch_.path() +
           "/peelfs-repair-*/bad.qcow2)");
  person.type("c\n");
  EXPECT_EQ(person.finish(), 12) << person.screen();
  EXPECT_TRUE(contains(person.screen(), "is not what was checked")) << person.screen();
  must_run("rm -r " + scratch_.path() + "/peelfs-repair-*");
}

TEST_F(FsckBadRepair, ATemporaryFolderOfOthersIsRefused) {
  const std::string bad = make_damaged_ext4("bad.img");
  remember();
  must_run("mkdir " + (other_ / "open") + " && chmod 777 " + (other_ / "open"));
  const CommandResult done =
      run("TMPDIR=" + (other_ / "open") + " " PEELFS_PROGRAM " fsck --repair --commit " + bad +
          " </dev/null 2>&1");
  EXPECT_NE(done.exit_code & 12, 0) << done.output;
  EXPECT_TRUE(contains(done.output, "others may rename what lies in")) << done.output;
  EXPECT_EQ(run("ls -A " + (other_ / "open")).output, "");
}

TEST_F(FsckBadRepair, InPlaceItIsSaidWhatWasWritten) {
  const std::string bad = make_damaged_ext4("bad.img");
  const std::string before = digest(bad);
  jobs::Spawner spawner;
  PeelRequest request;
  request.sources.push_back(parse_source(bad));
  const Peeling peeling(request, std::make_shared<KeyRing>());
  check::Plan plan = check::make_plan(peeling, {.names = {},
                                                .only_due = false,
                                                .with_outside = true,
                                                .now = std::chrono::system_clock::now()});
  plan.targets.at(0).program = script(
      "[ \"$REPAIR\" ] && { printf X | dd of=$DEV bs=1 seek=400000 conv=notrunc "
      "2>/dev/null; exit 1; }",
      plan.targets.at(0).program);
  check::FleetObserver observer;
  const check::FleetOptions fleet{.at_once = 1, .background = false, .memory = 0, .cancelled = {}};
  auto outcomes = check::check_all(peeling, request, plan, spawner, fleet, observer);
  cli::FsckOptions options;
  options.repair = options.in_place = true;
  check::repair_all(peeling, request, plan, outcomes, spawner, fleet, observer,
                    cli::repair_options(options));
  EXPECT_NE(digest(bad), before);
  EXPECT_EQ(outcomes.at(0).verdict.state, State::errors);
  EXPECT_TRUE(outcomes.at(0).is_written);
}

// An image that only the repair brings to light was not checked.
TEST_F(FsckBadRepair, WhatARepairBringsToLightIsSaid) {
  const std::string inner = make_ext4("inner.img");
  const std::string outer = images_ / "outer.img";
  must_run("mkdir -p " + (other_ / "in/d") + " && mv " + inner + " " + (other_ / "in/d/guest.raw") +
           " && truncate -s 64M " + outer + " && mke2fs -q -F -t ext4 -d " + (other_ / "in") + " " +
           outer + " && debugfs -w -R 'clri /d' " + outer + " 2>&1");
  const Checked checked = fsck("--repair --commit " + outer);
  EXPECT_EQ(checked.exit_code, 9) << checked.errors;
  EXPECT_EQ(checked.state("outer"), "repaired") << checked.reason("outer");
  EXPECT_TRUE(contains(checked.devices.at("outer").at("left-out").dump(), "not checked"))
      << checked.devices.at("outer").dump();
}

TEST_F(FsckBadRepair, TwoSourcesOfOneName) {
  SKIP_WITHOUT("mkfs.btrfs");
  must_run("mkdir " + (images_ / "1") + " " + (images_ / "2"));
  const std::string both = (images_ / "1/d.img") + " " + (images_ / "2/d.img");
  must_run("truncate -s 128M " + both + " && mkfs.btrfs -q -d raid1 -m raid1 " + both);
  damage_btrfs(both);
  const Checked checked = fsck("--repair --commit " + both);
  EXPECT_EQ(checked.exit_code, 1) << checked.errors;
  EXPECT_EQ(fsck(both).exit_code, 0);
}

TEST_F(FsckBadRepair, ABackingFileThatWasNamedIsAllowedToTheEnd) {
  SKIP_WITHOUT("qemu-img");
  make_damaged_ext4("b.img");
  must_run("mkdir " + (images_ / "sub") + " " + (images_ / "other") + " && mv " +
           (images_ / "b.img") + " " + (images_ / "other/base.img") + " && cd " +
           (images_ / "sub") +
           " && qemu-img create -q -f qcow2 -b ../other/base.img -F raw top.qcow2");
  const std::string base = digest(images_ / "other/base.img");
  const std::string sources = (images_ / "sub/top.qcow2") + " " + (images_ / "other/base.img");
  const Checked checked = fsck("--repair --commit " + sources);
  EXPECT_EQ(checked.exit_code, 5) << checked.errors;
  EXPECT_EQ(checked.state("top"), "repaired") << checked.reason("top");
  EXPECT_EQ(checked.state("base"), "errors");
  EXPECT_TRUE(contains(checked.reason("base"), "top.qcow2 is based on it"))
      << checked.reason("base");
  EXPECT_EQ(digest(images_ / "other/base.img"), base) << "to write it would change the other one";
  const Checked in_place = fsck("--repair --rw " + sources);
  EXPECT_EQ(in_place.state("base"), "errors") << in_place.reason("base");
  EXPECT_EQ(digest(images_ / "other/base.img"), base);
}

// e2fsck opens an external journal for writing, also where it changes nothing.
TEST_F(FsckBadRepair, AnExternalJournalIsNoDamage) {
  const std::string journal = images_ / "journal.img";
  const std::string files = images_ / "files.img";
  must_run("truncate -s 16M " + journal + " " + files + " && mke2fs -q -F -O journal_dev -b 4096 " +
           journal);
  {
    const LoopDevice loop(journal);
    if (!loop) GTEST_SKIP() << "there are no loop devices";
    must_run("mke2fs -q -F -t ext4 -b 4096 -J device=" + loop.path() + " " + files);
  }
  remember();
  const Checked checked = fsck(files + " " + journal);
  EXPECT_EQ(checked.exit_code, 0) << checked.reason("files");
  EXPECT_EQ(checked.state("files"), "clean") << checked.reason("files");
  EXPECT_EQ(fsck("--repair --rw " + files + " " + journal).exit_code, 0);
}

TEST_F(FsckBadRepair, ADeviceThatCanOnlyBeReadIsNotRepairedInVain) {
  const std::string bad = make_damaged_ext4("bad.img");
  remember();
  const LoopDevice loop(bad, "-r");
  if (!loop) GTEST_SKIP() << "there are no loop devices";
  const Checked checked = fsck("--repair --commit " + loop.path());
  const std::string name = loop.path().substr(5);
  EXPECT_EQ(checked.exit_code, 4) << checked.errors;
  EXPECT_TRUE(contains(checked.reason(name), "Read-only file system")) << checked.reason(name);
}

// What cannot be looked at any more is dropped all the same, and nothing is called repaired.
TEST_F(FsckBadRepair, ADroppedRepairIsNoRepair) {
  const std::string bad = make_damaged_ext4("bad.img");
  remember();
  jobs::Spawner spawner;
  PeelRequest request;
  request.sources.push_back(parse_source(bad));
  const Peeling peeling(request, std::make_shared<KeyRing>());
  const check::Plan plan = check::make_plan(peeling, {.names = {},
                                                      .only_due = false,
                                                      .with_outside = true,
                                                      .now = std::chrono::system_clock::now()});
  check::FleetObserver observer;
  const check::FleetOptions fleet{.at_once = 1, .background = false, .memory = 0, .cancelled = {}};
  auto outcomes = check::check_all(peeling, request, plan, spawner, fleet, observer);
  cli::FsckOptions options;
  options.repair = options.quiet = true;
  options.outcome = cli::Outcome::drop;
  const auto repairs = check::repair_all(peeling, request, plan, outcomes, spawner, fleet, observer,
                                         cli::repair_options(options));
  ASSERT_EQ(repairs.size(), 1U);
  // An overlay that others may write is not looked through.
  must_run("chmod 666 " + repairs.front().overlays + "/bad.qcow2");
  cli::settle_repairs(options, peeling, request, plan, repairs, outcomes);
  EXPECT_EQ(outcomes.at(0).verdict.state, State::errors) << outcomes.at(0).verdict.why;
  EXPECT_TRUE(contains(outcomes.at(0).verdict.why, "its repair is dropped"));
  EXPECT_FALSE(outcomes.at(0).is_written);
}

}  // namespace
}  // namespace peelfs::test
