// Which members of a group belong together: never by the order in which they were found.
#include "scan/instances.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace peelfs {
namespace {

constexpr std::uint32_t noon = 1'700'000'000;

/// A member of a disk in a folder, live.
GroupMember live(std::uint64_t id, const std::string& uuid, const std::string& folder = "/x",
                 const std::string& disk = {}) {
  return {id, uuid, {}, {folder, folder + "/" + (disk.empty() ? std::to_string(id) : disk)}};
}

/// One in a snapshot of a disk.
GroupMember shot(std::uint64_t id, const std::string& uuid, const std::string& name,
                 std::uint32_t seconds, const std::string& folder = "/x",
                 const std::string& disk = {}, std::uint32_t nanoseconds = 0) {
  GroupMember member = live(id, uuid, folder, disk);
  member.taken.push_back({1000 + id, {name, seconds, nanoseconds}});
  return member;
}

std::string split(const std::vector<GroupMember>& members) {
  std::string text;
  for (const Instance& instance : split_instances(members)) {
    for (const GroupMember& member : instance.members) text += std::to_string(member.id);
    text += "|";
  }
  return text;
}

TEST(Instances, WithoutCopiesAllBelongTogether) {
  EXPECT_EQ(split({live(1, "a"), live(2, "b", "/y"), live(3, "c", "/z")}), "123|");
  EXPECT_EQ(split({}), "");
}

TEST(Instances, OneDiskWithAllIsAnInstance) {
  EXPECT_EQ(split({live(1, "a", "/x", "d"), live(2, "a", "/x", "e"), live(3, "b", "/x", "d"),
                   live(4, "b", "/x", "e")}),
            "13|24|");
}

TEST(Instances, AFolderWithAllIsAnInstanceInWhateverOrder) {
  EXPECT_EQ(split({live(1, "a", "/x"), live(2, "a", "/y"), live(3, "b", "/y"), live(4, "b", "/x")}),
            "14|23|");
}

TEST(Instances, WhatIsLeftBesideACompleteSetBelongsTogether) {
  EXPECT_EQ(split({live(1, "a", "/x"), live(2, "b", "/y"), live(3, "a", "/z"), live(4, "b", "/z")}),
            "12|34|");
  EXPECT_EQ(split({live(1, "a", "/x"), live(2, "b", "/x"), live(3, "a", "/z")}), "12|3|");
}

TEST(Instances, CopiesInOneFolderCannotBeTold) {
  EXPECT_EQ(split({live(1, "a"), live(2, "b"), live(3, "a"), live(4, "b")}), "1|2|3|4|");
  EXPECT_EQ(split({live(1, "a", "/x"), live(2, "a", "/y"), live(3, "b", "/z")}), "1|2|3|");
  EXPECT_TRUE(split_instances({live(1, "a"), live(2, "a")}).front().among_copies);
}

TEST(Instances, PartsOfACopyStayWithTheirFolder) {
  EXPECT_EQ(split({live(1, "a", "/x"), live(2, "b", "/x"), live(3, "c", "/x"), live(4, "a", "/y"),
                   live(5, "b", "/y"), live(6, "a", "/z")}),
            "123|45|6|");
}

TEST(Instances, SnapshotsArePairedByNameAndDate) {
  // a has s1 and s2, b has s2 only: b's first one is not a's first one.
  EXPECT_EQ(split({live(1, "a"), shot(2, "a", "s1", noon), shot(3, "a", "s2", noon + 3600),
                   live(4, "b"), shot(5, "b", "s2", noon + 3601)}),
            "14|2|35|");
}

TEST(Instances, OneNameAtAnotherTimeIsAnotherMoment) {
  EXPECT_EQ(split({shot(1, "a", "daily", noon), shot(2, "b", "daily", noon + 86400)}), "1|2|");
  EXPECT_EQ(split({shot(1, "a", "s", noon), shot(2, "b", "s", noon + kSameMomentSeconds)}), "12|");
  EXPECT_EQ(split({shot(1, "a", "s", noon), shot(2, "b", "s", noon + kSameMomentSeconds + 1)}),
            "1|2|");
}

TEST(Instances, HowFarTheirSnapshotsAreApart) {
  EXPECT_EQ(time_span({}).seconds(), 0U);
  EXPECT_EQ(time_span({live(1, "a"), live(2, "b")}).seconds(), 0U);
  EXPECT_EQ(time_span({shot(1, "a", "s", noon, "/x", {}, 1), shot(2, "b", "s", noon)}).seconds(),
            0U);
  const TimeSpan span = time_span(
      {shot(1, "a", "s", noon + 3), shot(2, "b", "s", noon + 7), shot(3, "c", "s", noon)});
  EXPECT_EQ(span.earliest, noon);
  EXPECT_EQ(span.latest, noon + 7);
  EXPECT_EQ(time_span({shot(1, "a", "s", 0), shot(2, "b", "s", noon)}).seconds(), 0U);
}

TEST(Instances, OneTimeWithAnotherNameIsAnotherMoment) {
  EXPECT_EQ(split({shot(1, "a", "s1", noon), shot(2, "b", "s2", noon)}), "1|2|");
}

TEST(Instances, AChainOfNearOnesIsNoMoment) {
  EXPECT_EQ(
      split({shot(1, "a", "s", noon), shot(2, "b", "s", noon + 8), shot(3, "c", "s", noon + 16)}),
      "1|2|3|");
}

TEST(Instances, OfSeveralWithinSecondsThoseOfTheVeryTimeBelongTogether) {
  EXPECT_EQ(split({shot(1, "a", "s", noon), shot(2, "a", "s", noon + 5), shot(3, "b", "s", noon),
                   shot(4, "b", "s", noon + 5)}),
            "13|24|");
  EXPECT_EQ(
      split({shot(1, "a", "s", noon), shot(2, "a", "s", noon + 2), shot(3, "b", "s", noon + 1)}),
      "1|2|3|");
}

TEST(Instances, WithoutNameOrDateOnlyOneAndTheSameSnapshot) {
  EXPECT_EQ(split({shot(1, "a", "s", 0), shot(2, "b", "s", 0)}), "1|2|");
  EXPECT_EQ(split({shot(1, "a", "", noon), shot(2, "b", "", noon)}), "1|2|");
  GroupMember first = shot(1, "a", "s", 0, "/x", "d");
  GroupMember second = shot(2, "b", "s", 0, "/x", "d");
  second.taken = first.taken;
  EXPECT_EQ(split({first, second}), "12|");
}

TEST(Instances, CopiesOfDisksWithTheirSnapshots) {
  EXPECT_EQ(split({live(1, "a", "/x"), live(2, "b", "/x"), live(3, "a", "/y"), live(4, "b", "/y"),
                   shot(5, "a", "s", noon, "/x"), shot(6, "b", "s", noon + 3, "/x"),
                   shot(7, "a", "s", noon, "/y"), shot(8, "b", "s", noon + 3, "/y")}),
            "12|34|56|78|");
}

TEST(Instances, SnapshotsWithinSnapshots) {
  GroupMember a = shot(1, "a", "outer", noon);
  GroupMember b = shot(2, "b", "outer", noon + 1);
  a.taken.push_back({50, {"inner", noon - 100, 0}});
  EXPECT_EQ(split({a, b}), "1|2|") << "one in an image inside of the snapshot, one not";
  b.taken.push_back({51, {"inner", noon - 99, 0}});
  EXPECT_EQ(split({a, b}), "12|");
  b.taken.back().moment.name = "other";
  EXPECT_EQ(split({a, b}), "1|2|");
}

/// Any set of members, in any order: none is lost, and none are mixed.
TEST(Instances, NeverAMixture) {
  std::mt19937 random(16);
  const auto pick = [&](std::uint32_t below) {
    return static_cast<std::uint32_t>(random() % below);
  };
  for (int round = 0; round < 3000; ++round) {
    std::vector<GroupMember> members;
    const std::uint32_t count = 1 + pick(9);
    for (std::uint64_t id = 1; id <= count; ++id) {
      const std::string uuid(1, static_cast<char>('a' + pick(3)));
      const std::string folder = "/" + std::to_string(pick(3));
      const std::string disk = std::to_string(pick(3));
      if (pick(2) == 0) {
        members.push_back(live(id, uuid, folder, disk));
      } else {
        members.push_back(
            shot(id, uuid, "s" + std::to_string(pick(2)), noon + 4 * pick(6), folder, disk));
      }
    }
    const auto partition = [](const std::vector<Instance>& instances) {
      std::set<std::set<std::uint64_t>> sets;
      for (const Instance& instance : instances) {
        std::set<std::uint64_t> ids;
        for (const GroupMember& member : instance.members) ids.insert(member.id);
        sets.insert(ids);
      }
      return sets;
    };
    const std::vector<Instance> instances = split_instances(members);
    std::size_t total = 0;
    for (const Instance& instance : instances) {
      total += instance.members.size();
      std::set<std::string> uuids;
      for (const GroupMember& one : instance.members) {
        EXPECT_TRUE(uuids.insert(one.uuid).second);
        for (const GroupMember& other : instance.members) {
          EXPECT_TRUE(may_be_of_one_moment(one.taken, other.taken));
        }
      }
    }
    EXPECT_EQ(total, members.size());
    const auto before = partition(instances);
    std::shuffle(members.begin(), members.end(), random);
    EXPECT_EQ(partition(split_instances(members)), before) << "round " << round;
  }
}

}  // namespace
}  // namespace peelfs
