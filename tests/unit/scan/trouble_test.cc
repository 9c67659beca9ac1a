// What is said of a device: a cause once.
#include <gtest/gtest.h>

#include "scan/graph.h"

namespace peelfs {
namespace {

TEST(AddTrouble, WhatAReadMeetsIsNoSecondTrouble) {
  const std::string a = "physical volume aaaa (last seen as /dev/sda) is missing";
  const std::string b = "physical volume bbbb (last seen as /dev/sdb) is missing";
  std::optional<Trouble> trouble;
  add_trouble(trouble, {"degraded", a + "; " + b});
  add_trouble(trouble,
              {"denied", "/: directory: LV vg/lv: " + b + "; name the disk that holds it"});
  EXPECT_EQ(trouble->state, "denied");
  EXPECT_EQ(trouble->reason, a + "; " + b);
  // The same advice for another trouble.
  trouble = Trouble{"note", "one thing is wrong; this is what can be done about it"};
  add_trouble(trouble, {"note", "another is wrong; this is what can be done about it"});
  EXPECT_NE(trouble->reason.find("another is wrong"), std::string::npos);
}

}  // namespace
}  // namespace peelfs
