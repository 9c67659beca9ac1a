// Repairs by programs that do not do what they should: nothing of that is committed.
#include <chrono>
#include <cstdlib>

#include "check/repair.h"
#include "cli/fsck/repairs.h"
#include "fsck/repairs.h"

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

  Repaired repaired(const std::string& image, const std::string& what) const {
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
    result.plan = check::make_plan(
        peeling, {.names = {}, .only_due = false, .now = std::chrono::system_clock::now()});
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

 private:
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

}  // namespace
}  // namespace peelfs::test
