// Devices that are opened at once, and that nothing depends on which of them is done first.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <thread>

#include "peelfs/budget.h"
#include "peelfs/host_file.h"
#include "rows.h"

namespace peelfs::test {
namespace {

using namespace std::chrono_literals;

/// Layers that wait until several are being opened: one after the other they would wait in vain.
struct Meeting {
  std::mutex mutex;
  std::condition_variable changed;
  unsigned inside = 0;

  bool wait_for(unsigned count) {
    std::unique_lock lock(mutex);
    ++inside;
    changed.notify_all();
    return changed.wait_for(lock, 20s, [&] { return inside >= count; });
  }
};
Meeting meeting;

constexpr char kMeet[] = "MEET";
constexpr char kSearch[] = "SEARCH";
constexpr char kKeyed[] = "KEYED";

Opened open_when_both_are_there(const OpenInput& input) {
  Opened opened;
  if (!meeting.wait_for(2)) throw Error(Fault::damaged, "it was opened alone");
  opened.devices.push_back(
      behind_head(input.members.front(), "part", input.members.front().stem + "p1"));
  return opened;
}

/// A group of its own for each device; two devices in each.
std::optional<Claim> probe_group(const ProbeInput& input) {
  if (first_word(input.device) != "GROUP") return std::nullopt;
  Claim claim;
  claim.format = "GROUP";
  const std::string size = std::to_string(input.device.size());
  claim.membership = Membership{"vg" + size, "", size};
  return claim;
}

/// The size of a device is what a search of it costs. Those that come early take long.
Opened open_search(const OpenInput& input) {
  const std::uint64_t cost = input.members.front().device->size() >> 10U;
  const std::uint64_t left = input.budget->left(Budget::Kind::files);
  std::this_thread::sleep_for(std::chrono::milliseconds(cost));
  Opened opened;
  if (left < cost) {
    input.budget->refuse(Budget::Kind::files, input.members.front().stem);
    opened.trouble = Trouble{Trouble::note, "cut short"};
  }
  input.budget->take(Budget::Kind::files, std::min(left, cost));
  return opened;
}

/// Where they were opened, in that order. The larger, the longer it takes.
std::mutex order_mutex;
std::string order;

Opened open_keyed(const OpenInput& input) {
  const Member& member = input.members.front();
  std::this_thread::sleep_for(std::chrono::milliseconds(member.device->size() >> 10U));
  const std::lock_guard lock(order_mutex);
  order += member.stem + " ";
  return {};
}

/// A group that holds what may be another member of it, or of another group. The word is its name.
std::optional<Claim> probe_nest(const ProbeInput& input) {
  const std::string word = first_word(input.device);
  if (!word.starts_with("NEST")) return std::nullopt;
  Claim claim;
  claim.format = "NEST";
  claim.membership = Membership{word, "", std::to_string(input.device.size())};
  return claim;
}

/// How often it fails for want of memory before it works.
unsigned nest_failures = 0;

Opened open_nest(const OpenInput& input) {
  if (nest_failures != 0) {
    --nest_failures;
    throw std::bad_alloc();
  }
  Opened opened;
  for (std::size_t i = 0; i < input.members.size(); ++i) {
    opened.devices.push_back(behind_head(input.members[i], "lvm", "vg-" + input.members[i].stem));
    opened.devices.back().members = {i};
  }
  return opened;
}

const Formats& table() {
  static constexpr std::array rows{
      Layer{.name = "meet", .probe = &probe_word<kMeet>, .open = &open_when_both_are_there},
      Layer{.name = "group", .probe = &probe_group, .open = &open_when_both_are_there},
      Layer{.name = "search",
            .probe = &probe_word<kSearch>,
            .open = &open_search,
            .traits = {.filesystem = true}},
      Layer{.name = "keyed",
            .probe = &probe_word<kKeyed>,
            .open = &open_keyed,
            .traits = {.encryption = true}},
      Layer{.name = "nest", .probe = &probe_nest, .open = &open_nest},
  };
  static constexpr Formats formats{rows};
  return formats;
}

class OpenedAtOnce : public ::testing::Test {
 protected:
  OpenedAtOnce() { meeting.inside = 0; }
  void add(Scanner& scanner, const std::string& name, const Buffer& bytes) {
    write_file(folder_ / name, bytes);
    const SourceSpec spec{folder_ / name, "", false};
    scanner.add(open_sources({&spec, 1}, {}, table()).sources.front());
  }
  static std::unique_ptr<Scanner> scanner(const Limits& limits = {}) {
    return std::make_unique<Scanner>(table(), limits, std::make_shared<KeyRing>(),
                                     std::vector<Directive>{});
  }
  TemporaryDirectory folder_;
};

TEST_F(OpenedAtOnce, SeveralDevices) {
  const auto both = scanner();
  add(*both, "a.img", block("MEET", pattern(4096, 1)));
  add(*both, "b.img", block("MEET", pattern(4096, 2)));
  both->settle();
  EXPECT_EQ(printed(*both->tree()), "a(disk)\nb(disk)\nap1(part) < a\nbp1(part) < b\n");
}

TEST_F(OpenedAtOnce, SeveralGroups) {
  const auto both = scanner();
  add(*both, "a.img", block("GROUP", pattern(4096, 1)));
  add(*both, "b.img", block("GROUP", pattern(8192, 2)));
  both->settle();
  EXPECT_EQ(printed(*both->tree()), "a(disk)\nb(disk)\nap1(part) < a\nbp1(part) < b\n");
}

TEST_F(OpenedAtOnce, WhereTheBudgetEndsIsNoChance) {
  Limits limits;
  limits.run_files = 100;
  for (int round = 0; round < 6; ++round) {
    // Below what one search may take the budget counts as scarce from the start; otherwise that
    // turns out when all have been searched.
    limits.search_files = round % 2 == 0 ? 10 : 200'000;
    const auto run = scanner(limits);
    // 60 are paid for, then 30, and 20 are too many: 10 of them, and none of the last.
    for (const auto& [name, cost] : {std::pair{"a", 60U}, {"b", 30U}, {"c", 20U}, {"d", 5U}}) {
      add(*run, std::string(name) + ".img", block("SEARCH", pattern(cost * 1024, 1)));
    }
    run->settle();
    EXPECT_EQ(printed(*run->tree()), "a(disk)\nb(disk)\nc(disk,note)\nd(disk,note)\n");
    ASSERT_EQ(run->endings().size(), 1U);
    EXPECT_NE(run->endings().front().find("c and 1 more left out"), std::string::npos)
        << run->endings().front();
  }
}

TEST_F(OpenedAtOnce, WhereKeysAreDerivedTheOrderIsKept) {
  order.clear();
  const auto run = scanner();
  for (const auto& [name, cost] : {std::pair{"a", 60U}, {"b", 30U}, {"c", 20U}, {"d", 1U}}) {
    add(*run, std::string(name) + ".img", block("KEYED", pattern(cost * 1024, 1)));
  }
  run->settle();
  EXPECT_EQ(order, "a b c d ");
}

TEST_F(OpenedAtOnce, AGroupThatLiesOnItselfIsOneOfItsOwn) {
  const auto run = scanner();
  add(*run, "a.img", block("NEST", block("NEST", block("NEST", pattern(4096, 1)))));
  add(*run, "b.img", block("NEST", pattern(8192, 1)));
  run->settle();
  EXPECT_EQ(printed(*run->tree()),
            "a(disk)\nb(disk)\nvg-a(lvm) < a\nvg-b(lvm) < b\nvg-vg-a(lvm) < vg-a\n"
            "vg-vg-vg-a(lvm) < vg-vg-a\n");
  std::set<std::uint64_t> groups;
  for (const char* const name : {"a", "b", "vg-a", "vg-vg-a"}) {
    groups.insert(find_node(*run->tree(), name)->group);
  }
  EXPECT_EQ(groups.size(), 3U) << "a and b are one group";
}

TEST_F(OpenedAtOnce, GroupsThatLieOnOneAnotherEnd) {
  const auto run = scanner();
  add(*run, "a.img", block("NEST1", block("NEST2", pattern(4096, 1))));
  add(*run, "b.img", block("NEST2", block("NEST1", pattern(8192, 1))));
  run->settle();
  const auto tree = run->tree();
  EXPECT_NE(trouble_of(*tree, "a").find("which has no end"), std::string::npos)
      << trouble_of(*tree, "a");
  EXPECT_NE(find_node(*tree, "vg-a"), nullptr);
  EXPECT_NE(find_node(*tree, "vg-b"), nullptr);
  run->settle();
  EXPECT_EQ(printed(*run->tree()), printed(*tree));
}

TEST_F(OpenedAtOnce, WithoutMemoryGroupsAreOpenedTheNextTime) {
  const auto run = scanner();
  add(*run, "a.img", block("NEST", pattern(4096, 1)));
  nest_failures = 1;
  EXPECT_THROW(run->settle(), std::bad_alloc);
  run->settle();
  EXPECT_EQ(printed(*run->tree()), "a(disk)\nvg-a(lvm) < a\n");
}

TEST_F(OpenedAtOnce, WhatIsFoundIsToldAsItComes) {
  const auto both = scanner();
  add(*both, "a.img", block("MEET", block("MEET", pattern(4096, 1))));
  add(*both, "b.img", block("MEET", pattern(4096, 2)));
  std::vector<std::size_t> sizes;
  both->observe([&](const std::shared_ptr<const Tree>& tree) {
    sizes.push_back(tree->nodes.size());
    EXPECT_TRUE(both->tree()->nodes.empty()) << "what is not settled is not published";
  });
  both->settle();
  EXPECT_EQ(sizes, (std::vector<std::size_t>{4, 5, 5}));
  EXPECT_EQ(both->tree()->nodes.size(), 5U);
}

TEST_F(OpenedAtOnce, AnObserverMayEndIt) {
  const auto both = scanner();
  add(*both, "a.img", block("MEET", pattern(4096, 1)));
  add(*both, "b.img", block("MEET", pattern(4096, 2)));
  both->observe([](const auto&) { throw std::runtime_error("enough"); });
  EXPECT_THROW(both->settle(), std::runtime_error);
  both->observe(nullptr);
  both->settle();
  EXPECT_EQ(both->tree()->nodes.size(), 4U);
}

}  // namespace
}  // namespace peelfs::test
