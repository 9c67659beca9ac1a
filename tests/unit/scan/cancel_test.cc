// Runs that another thread ends.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <thread>

#include "peelfs/cancel.h"
#include "peelfs/host_file.h"
#include "rows.h"
#include "support/test_storage.h"

namespace peelfs::test {
namespace {

using namespace std::chrono_literals;

constexpr char kSplit[] = "SPLIT";
constexpr char kBlock[] = "BLOCK";

/// A layer's long work: it ends only when it is told to, or after far too long.
Opened open_block(const OpenInput& input) {
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (std::chrono::steady_clock::now() < end) {
    check_cancel(input.cancel);
    std::this_thread::sleep_for(1ms);
  }
  throw Error(Fault::damaged, "nothing ended it");
}

Opened open_split(const OpenInput& input) {
  Opened opened;
  for (const char* const name : {"p1", "p2"}) {
    opened.devices.push_back(
        behind_head(input.members.front(), "part", input.members.front().stem + name));
  }
  return opened;
}

/// Two members are expected.
std::optional<Claim> probe_group(const ProbeInput& input) {
  if (first_word(input.device) != "GROUP") return std::nullopt;
  Claim claim;
  claim.format = "GROUP";
  claim.uuid = std::to_string(input.device.size());
  claim.membership = Membership{"vg", "", claim.uuid};
  return claim;
}

Opened open_group(const OpenInput& input) {
  Opened opened;
  opened.devices.push_back(behind_head(input.members.front(), "lvm", "vg-lv"));
  if (input.members.size() < 2) opened.trouble = Trouble{Trouble::degraded, "a member is missing"};
  return opened;
}

const Formats& table() {
  static constexpr std::array rows{
      Layer{.name = "split", .probe = &probe_word<kSplit>, .open = &open_split},
      Layer{.name = "block", .probe = &probe_word<kBlock>, .open = &open_block},
      Layer{.name = "group", .probe = &probe_group, .open = &open_group},
  };
  static constexpr Formats formats{rows};
  return formats;
}

class CancelTest : public ::testing::Test {
 protected:
  static Buffer plain(std::size_t size = 4096) { return pattern(size, 1); }

  void add(const std::string& name, const Buffer& bytes) {
    write_file(folder_ / name, bytes);
    const SourceSpec spec{folder_ / name, "", false};
    scanner_.add(open_sources({&spec, 1}, {}, table()).sources.front());
  }
  std::string tree() { return printed(*scanner_.tree()); }

  const std::shared_ptr<Cancel> cancel_ = std::make_shared<Cancel>();
  TemporaryDirectory folder_;
  Scanner scanner_{table(), Limits{}, std::make_shared<KeyRing>(), {}, cancel_};
};

TEST_F(CancelTest, BeforeItBeginsNothingIsLookedAtAndNothingIsEmpty) {
  add("a.img", block("SPLIT", plain()));
  add("b.img", plain());
  cancel_->request();
  scanner_.settle();
  EXPECT_EQ(tree(), "a.img(file,denied)\nb.img(file,denied)\n");
  EXPECT_EQ(trouble_of(*scanner_.tree(), "b.img"),
            "denied: not all of it was looked into: the run was cancelled");
  EXPECT_EQ(scanner_.cancelled(), 2U);
}

TEST_F(CancelTest, ALayerThatIsAtWorkEndsAndWhatWasFoundStays) {
  add("a.img", block("SPLIT", plain()));
  add("b.img", block("BLOCK", plain()));
  add("c.img", block("SPLIT", plain()));
  std::chrono::steady_clock::time_point asked;
  {
    const std::jthread other([&] {
      std::this_thread::sleep_for(100ms);
      asked = std::chrono::steady_clock::now();
      cancel_->request();
    });
    scanner_.settle();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - asked, 5s);
  // The partitions of a and c were found before; that there may be something in them is said.
  EXPECT_EQ(tree(),
            "a(disk)\nb(disk,denied)\nc(disk)\nap1(part,denied) < a\nap2(part,denied) < a\n"
            "cp1(part,denied) < c\ncp2(part,denied) < c\n");
  EXPECT_EQ(scanner_.cancelled(), 5U);
}

TEST_F(CancelTest, AMemberThatWasNotLookedAtIsNotMissing) {
  add("a.img", block("GROUP", plain()));
  add("b.img", block("BLOCK", plain(8192)));
  {
    const std::jthread other([&] {
      std::this_thread::sleep_for(50ms);
      cancel_->request();
    });
    scanner_.settle();
  }
  // The group was not opened: its other member may lie in b.
  EXPECT_EQ(tree(), "a(disk,denied)\nb(disk,denied)\n");
}

TEST_F(CancelTest, AnIncompleteGroupSaysThatNotAllWasLookedAt) {
  add("a.img", block("GROUP", plain()));
  scanner_.settle();
  EXPECT_EQ(tree(), "a(disk,degraded)\nvg-lv(lvm) < a\n");
  add("b.img", block("SPLIT", plain()));
  cancel_->request();
  scanner_.settle();
  EXPECT_EQ(tree(), "a(disk,denied)\nvg-lv(lvm) < a\nb.img(file,denied)\n");
  EXPECT_NE(trouble_of(*scanner_.tree(), "a").find("a member is missing"), std::string::npos);
}

TEST_F(CancelTest, WithoutACancelAllIsSaidAsBefore) {
  add("a.img", block("GROUP", plain()));
  scanner_.settle();
  EXPECT_EQ(scanner_.cancelled(), 0U);
  EXPECT_EQ(tree(), "a(disk,degraded)\nvg-lv(lvm) < a\n");
}

/// A source on a storage that takes its time.
TEST_F(CancelTest, ASlowStorageEndsAfterTheReadUnderWay) {
  add("a.img", block("SPLIT", plain()));
  const auto storage = std::make_shared<TestStorage>(block("SPLIT", plain(16U << 20U)));
  storage->set_delay(100ms);
  const DevicePtr slow = make_storage_device(storage);
  Source source;
  source.name = "slow.img";
  source.stem = "slow";
  source.path = "slow.img";
  const SourceSpec spec{folder_ / "a.img", "", false};
  source.file = open_sources({&spec, 1}, {}, table()).sources.front().file;
  source.overlay = slow;  // in the place of the file's bytes
  scanner_.add(source);
  std::chrono::steady_clock::time_point asked;
  {
    const std::jthread other([&] {
      std::this_thread::sleep_for(250ms);
      asked = std::chrono::steady_clock::now();
      cancel_->request();
    });
    scanner_.settle();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - asked, 2s);
  const std::size_t reads = storage->take_requests().size();
  EXPECT_LT(reads, 8U) << "identification alone reads more";
  EXPECT_NE(trouble_of(*scanner_.tree(), "slow.img").find("the run was cancelled"),
            std::string::npos)
      << tree();
}

}  // namespace
}  // namespace peelfs::test
