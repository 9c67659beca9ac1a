// Ranges that are known to be missing: one answer each, through all layers above.
#include "engine/missing.h"

#include <gtest/gtest.h>

#include "peelfs/devices.h"
#include "peelfs/error.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t pib = 1ULL << 50;

Error gone() {
  return Error(Fault::missing, "gone");
}

/// 1 MiB, then a hole of pieces that are not there, then 1 MiB.
DevicePtr with_gap(std::uint64_t gap) {
  const auto memory = std::make_shared<MemoryDevice>(pattern(2 << 20, 1));
  return make_concat({{memory, 0, 1 << 20},
                      {nullptr, 0, gap / 2},
                      {nullptr, 0, gap - gap / 2},
                      {memory, 1 << 20, 1 << 20}},
                     gone(), "with a gap");
}

/// Encryption: one byte is made of one.
class OneForOne : public BlockDevice {
 public:
  explicit OneForOne(DevicePtr lower) : BlockDevice(lower->size()), lower_(std::move(lower)) {}
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  Extent computed_from(std::uint64_t offset, std::uint64_t length) const override {
    return Extent::in_device(*lower_, offset, length);
  }
  std::string describe() const override { return "one for one"; }

 private:
  DevicePtr lower_;
};

void expect(const BlockDevice& device, std::uint64_t offset, bool missing, std::uint64_t length) {
  const Presence there = presence(device, offset, device.size() - offset);
  EXPECT_EQ(there.missing, missing) << offset;
  EXPECT_EQ(there.length, length) << offset;
}

TEST(Missing, AGapIsOneAnswerWhateverItsSize) {
  const DevicePtr device = with_gap(512 * pib);
  expect(*device, 0, false, 1 << 20);
  expect(*device, 4096, false, (1 << 20) - 4096);
  expect(*device, 1 << 20, true, 512 * pib);
  expect(*device, (1 << 20) + 300 * pib, true, 212 * pib);
  expect(*device, (1 << 20) + 512 * pib, false, 1 << 20);
  EXPECT_EQ(presence(*device, 1 << 20, 512).length, 512U);
  // And it is so: nothing of it can be read, and everything around it can.
  EXPECT_THROW((void)read_bytes(*device, 1 << 20, 1), Error);
  EXPECT_THROW((void)read_bytes(*device, (1 << 20) + 512 * pib - 1, 1), Error);
  EXPECT_EQ(read_bytes(*device, (1 << 20) + 512 * pib, 1).size(), 1U);
}

TEST(Missing, GapsAtBothEnds) {
  const auto memory = std::make_shared<MemoryDevice>(Buffer(4096));
  const DevicePtr device = make_concat({{nullptr, 0, pib}, {memory, 0, 4096}, {nullptr, 0, pib}},
                                       gone(), "gaps at both ends");
  expect(*device, 0, true, pib);
  expect(*device, pib, false, 4096);
  expect(*device, pib + 4096, true, pib);
}

TEST(Missing, ThroughSlicesAndWhatComputes) {
  const DevicePtr slice = make_slice(with_gap(pib), 512 << 10, pib, "slice");
  expect(*slice, 0, false, 512 << 10);
  expect(*slice, 512 << 10, true, pib - (512 << 10));
  const auto computing = std::make_shared<OneForOne>(slice);
  expect(*computing, 0, false, 512 << 10);
  expect(*computing, 512 << 10, true, pib - (512 << 10));
}

TEST(Missing, AnUnreadableDeviceIsMissingAsAWhole) {
  const DevicePtr device = make_unreadable(pib, gone(), "nothing of it");
  expect(*device, 0, true, pib);
  expect(*make_slice(device, 512, pib / 2, "part"), 0, true, pib / 2);
}

/// Damaged tables do not tell how far the damage goes.
TEST(Missing, WhatOnlyFailsIsNotKnownToBeMissing) {
  class Damaged : public BlockDevice {
   public:
    Damaged() : BlockDevice(1 << 20) {}
    Extent map(std::uint64_t, std::uint64_t) const override {
      throw Error(Fault::damaged, "tables");
    }
    std::string describe() const override { return "damaged"; }
  };
  expect(Damaged(), 0, false, 1 << 20);
}

}  // namespace
}  // namespace peelfs::test
