// Comparing devices: exact, and without reading what lies in the same place.
#include "overlay/compare.h"

#include "overlay_support.h"
#include "peelfs/devices.h"

namespace peelfs::overlay {
namespace {

/// What is compared byte by byte, the long way.
std::uint64_t sectors_that_differ(const Buffer& a, const Buffer& b) {
  std::uint64_t bytes = 0;
  for (std::size_t at = 0; at < a.size(); at += 512) {
    const std::size_t length = std::min<std::size_t>(512, a.size() - at);
    const auto begin = static_cast<std::ptrdiff_t>(at);
    const auto end = static_cast<std::ptrdiff_t>(at + length);
    if (!std::equal(a.begin() + begin, a.begin() + end, b.begin() + begin)) bytes += length;
  }
  return bytes;
}

TEST(Compare, FindsWhatDiffers) {
  for (std::uint64_t seed = 1; seed < 20; ++seed) {
    const Buffer before = test::pattern(200'000 + seed * 77, seed);
    Buffer after = before;
    const Buffer choice = test::pattern(64, seed + 100);
    for (std::size_t i = 0; i + 4 <= choice.size(); i += 4) {
      const std::size_t at = ByteReader(choice, "choice").le32(i) % after.size();
      after[at] ^= std::byte{1};
    }
    const auto found = compare_devices(test::MemoryDevice(before), test::MemoryDevice(after));
    EXPECT_EQ(found.changed, sectors_that_differ(before, after));
    EXPECT_FALSE(found.only_zeroes());
    std::uint64_t end = 0;
    for (const ChangedRun& run : found.runs) {
      EXPECT_TRUE(run.offset > end || (run.offset == 0 && end == 0)) << "touching runs are one";
      end = run.offset + run.length;
    }
  }
}

TEST(Compare, Zeroes) {
  const Buffer before = test::pattern(8192, 1);
  Buffer after = before;
  std::fill_n(after.begin() + 1024, 2048, std::byte{0});
  const auto wiped = compare_devices(test::MemoryDevice(before), test::MemoryDevice(after));
  ASSERT_EQ(wiped.runs.size(), 1U);
  EXPECT_EQ(wiped.runs[0].offset, 1024U);
  EXPECT_EQ(wiped.runs[0].length, 2048U);
  EXPECT_TRUE(wiped.only_zeroes());
  const auto filled = compare_devices(test::MemoryDevice(after), test::MemoryDevice(before));
  EXPECT_EQ(filled.filled, 2048U);
  EXPECT_FALSE(filled.only_zeroes());
}

TEST(Compare, ALongerDevice) {
  Buffer before = test::pattern(4096, 1);
  Buffer after = before;
  after.resize(8192);
  EXPECT_EQ(compare_devices(test::MemoryDevice(before), test::MemoryDevice(after)).changed, 0U);
  after[5000] = std::byte{1};
  const auto found = compare_devices(test::MemoryDevice(before), test::MemoryDevice(after));
  ASSERT_EQ(found.runs.size(), 1U);
  EXPECT_EQ(found.runs[0].offset, 4608U);
  EXPECT_EQ(found.filled, 512U);
}

/// Computes from what lies below, and counts what it is asked for.
class Transform : public BlockDevice {
 public:
  Transform(DevicePtr lower, std::byte key)
      : BlockDevice(lower->size()), lower_(std::move(lower)), key_(key) {}
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override {
    read(*lower_, offset, out);
    for (std::byte& byte : out) byte ^= key_;
    computed += out.size();
  }
  Extent computed_from(std::uint64_t offset, std::uint64_t length) const override {
    return Extent::in_device(*lower_, offset, length);
  }
  std::string describe() const override { return "transform"; }
  mutable std::uint64_t computed = 0;

 private:
  const DevicePtr lower_;
  const std::byte key_;
};

class CompareBelow : public OverlayTest {};

TEST_F(CompareBelow, OnlyWhatIsTouchedIsComputed) {
  const std::string source = make_raw();
  const auto sources = covered({source});
  write(*sources[0].overlay, 1'000'000, test::pattern(1000, 4));
  const Transform before(sources[0].covered, std::byte{0x5a});
  const Transform after(sources[0].overlay, std::byte{0x5a});
  const auto found = compare_devices(before, after);
  ASSERT_EQ(found.runs.size(), 1U);
  EXPECT_EQ(found.runs[0].offset, 999'936U);
  EXPECT_EQ(found.changed, 1536U);
  EXPECT_LE(after.computed, (64U << 10U) + 4096U) << "a cluster, and one look at the key";
}

TEST_F(CompareBelow, AnotherKeyChangesEverything) {
  const std::string source = make_raw();
  const auto sources = covered({source});
  const Transform before(sources[0].covered, std::byte{0x5a});
  const Transform after(sources[0].overlay, std::byte{0x5b});
  EXPECT_EQ(compare_devices(before, after).changed, before.size());
}

TEST_F(CompareBelow, WhatCannotBeReadIsCounted) {
  const std::string source = make_raw();
  const auto sources = covered({source});
  const auto broken =
      make_unreadable(1U << 20U, Error(Fault::damaged, "no table"), "broken device");
  const auto found = compare_devices(*sources[0].covered, *broken);
  EXPECT_EQ(found.unreadable, 1U << 20U);
  EXPECT_TRUE(contains(found.reason, "no table"));
}

}  // namespace
}  // namespace peelfs::overlay
