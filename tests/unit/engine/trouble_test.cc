// What is said of a device: the worst state for the whole, every cause once.
#include "peelfs/trouble.h"

#include <gtest/gtest.h>

#include "peelfs/error.h"

namespace peelfs {
namespace {

TEST(Trouble, TheOrderOfSeverityIsOne) {
  using enum Trouble::State;
  EXPECT_LT(note, degraded);
  EXPECT_LT(degraded, missing);
  EXPECT_LT(missing, unsupported);
  EXPECT_LT(unsupported, denied);
  EXPECT_LT(denied, io);
  EXPECT_LT(io, damaged);
  EXPECT_LT(damaged, locked);
}

TEST(Trouble, EveryFaultHasAState) {
  const auto state = [](Fault fault) { return trouble_from(Error(fault, "it")).state; };
  EXPECT_EQ(state(Fault::damaged), Trouble::damaged);
  EXPECT_EQ(state(Fault::unsupported), Trouble::unsupported);
  EXPECT_EQ(state(Fault::missing), Trouble::missing);
  EXPECT_EQ(state(Fault::locked), Trouble::locked);
  EXPECT_EQ(state(Fault::denied), Trouble::denied);
  EXPECT_EQ(state(Fault::io), Trouble::io);
  EXPECT_EQ(state(Fault::usage), Trouble::denied);
}

TEST(Troubles, TheWorstComesFirstAndGivesTheState) {
  Troubles troubles;
  EXPECT_FALSE(troubles.summary());
  troubles.note("dirty");
  troubles.add(Trouble::degraded, "a leg is lost");
  troubles.damage("bad checksum");
  troubles.note("");
  EXPECT_EQ(text_of(*troubles.summary()), "damaged: bad checksum; a leg is lost; dirty");
  EXPECT_TRUE(troubles.reach(Trouble::damaged));
  EXPECT_FALSE(troubles.reach(Trouble::locked));
}

TEST(Troubles, AReasonIsSaidOnceWithItsWorstState) {
  Troubles troubles;
  troubles.note("the journal is dirty");
  troubles.add(Trouble::io, "the journal is dirty");
  EXPECT_EQ(text_of(*troubles.summary()), "io: the journal is dirty");
}

TEST(Troubles, WhatHasASubstituteIsDegradedAtWorst) {
  Troubles leg;
  leg.damage("the leg is bad");
  leg.note("the leg is old");
  Troubles mirror;
  mirror.add_degraded(leg);
  EXPECT_EQ(text_of(*mirror.summary()), "degraded: the leg is bad; the leg is old");
  Troubles chain;
  chain.add(leg, "backing file b: ");
  EXPECT_EQ(text_of(*chain.summary()),
            "damaged: backing file b: the leg is bad; backing file b: the leg is old");
}

TEST(Troubles, HostileMetadataMakesNoLongText) {
  Troubles troubles;
  for (int i = 0; i < 1000; ++i) troubles.note("\x1b[31m remark " + std::to_string(i));
  troubles.damage("the one that counts");
  const std::optional<Trouble> sum = troubles.summary();
  EXPECT_EQ(sum->state, Trouble::damaged);
  EXPECT_TRUE(sum->reason.starts_with("the one that counts; ")) << sum->reason;
  EXPECT_TRUE(sum->reason.ends_with("; and 989 more")) << sum->reason;
  EXPECT_EQ(sum->reason.find('\x1b'), std::string::npos);
  EXPECT_LT(sum->reason.size(), 500U);
}

TEST(JoinTroubles, WhatAReadMeetsIsNoSecondTrouble) {
  const std::string a = "physical volume aaaa (last seen as /dev/sda) is missing";
  const std::string b = "physical volume bbbb (last seen as /dev/sdb) is missing";
  std::optional<Trouble> trouble;
  join(trouble, {Trouble::degraded, a + "; " + b});
  join(trouble,
       {Trouble::denied, "/: directory: LV vg/lv: " + b + "; name the disk that holds it"});
  EXPECT_EQ(trouble->state, Trouble::denied);
  EXPECT_EQ(trouble->reason, a + "; " + b);
  // The same advice for another trouble.
  trouble = Trouble{Trouble::note, "one thing is wrong; this is what can be done about it"};
  join(trouble, {Trouble::note, "another is wrong; this is what can be done about it"});
  EXPECT_NE(trouble->reason.find("another is wrong"), std::string::npos);
}

TEST(JoinTroubles, ReasonsAddUpAndAreNotRepeated) {
  std::optional<Trouble> trouble;
  join(trouble, {Trouble::note, "dirty"});
  join(trouble, {Trouble::damaged, "bad checksum"});
  join(trouble, {Trouble::note, "dirty"});
  EXPECT_EQ(text_of(*trouble), "damaged: bad checksum; dirty");
  join(trouble, {Trouble::damaged, "os43: bad checksum; dirty"});
  EXPECT_EQ(text_of(*trouble), "damaged: bad checksum; dirty");
}

}  // namespace
}  // namespace peelfs
