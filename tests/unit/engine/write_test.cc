// The write loop over slices, concatenations and encryption, in memory and in host files.
#include <gtest/gtest.h>

#include <thread>

#include "peelfs/devices.h"
#include "peelfs/error.h"
#include "peelfs/host_file.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

/// Computes and stores in granules of 4096 bytes; each stored granule is a whole one.
class Coarse : public BlockDevice {
 public:
  explicit Coarse(DevicePtr lower) : BlockDevice(lower->size()), lower_(std::move(lower)) {}
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override {
    EXPECT_TRUE(whole(offset, out.size()));
    read(*lower_, offset, out);
    flip(out);
  }
  void store(std::uint64_t offset, Bytes data) const override {
    EXPECT_TRUE(whole(offset, data.size()));
    Buffer copy(data.begin(), data.end());
    flip(copy);
    write(*lower_, offset, copy);
  }
  std::uint32_t granule() const noexcept override { return 4096; }
  std::uint32_t write_granule() const noexcept override { return 16384; }
  bool writable() const noexcept override { return true; }
  std::string describe() const override { return "coarse"; }

 private:
  bool whole(std::uint64_t offset, std::uint64_t length) const {
    return offset % 4096 == 0 && ((offset + length) % 4096 == 0 || offset + length == size());
  }
  static void flip(MutableBytes bytes) {
    for (std::byte& byte : bytes) byte ^= std::byte{0x55};
  }
  const DevicePtr lower_;
};

class WriteFile : public testing::Test {
 protected:
  DevicePtr file(const std::string& name, std::uint64_t size) {
    write_file(folder_ / name, pattern(size, 3));
    return writable_file_device(folder_ / name);
  }
  TemporaryDirectory folder_;
};

TEST(Write, Memory) {
  const auto memory = writable_memory(pattern(100'003, 1));
  const Buffer whole = check_write_contract(*memory);
  EXPECT_EQ(memory->bytes(), whole);
}

TEST(Write, SliceAndConcat) {
  const auto a = writable_memory(pattern(50'000, 1)), b = writable_memory(pattern(90'000, 2));
  const DevicePtr concat = make_concat({{b, 1000, 40'000}, {a, 0, 50'000}, {b, 60'001, 9'999}},
                                       Error(Fault::missing, "gone"), "concat");
  const DevicePtr slice = make_slice(concat, 511, 98'000, "slice");
  const Buffer whole = check_write_contract(*slice);
  EXPECT_EQ(read_bytes(*b, 1511, 1000), Buffer(whole.begin(), whole.begin() + 1000));
  // What the slice does not cover is as it was.
  const Buffer was = pattern(90'000, 2);
  EXPECT_EQ(read_bytes(*b, 0, 1511), Buffer(was.begin(), was.begin() + 1511));
  EXPECT_EQ(read_bytes(*b, 41'000, 19'001), Buffer(was.begin() + 41'000, was.begin() + 60'001));
}

TEST(Write, GranulesOfAComputingDevice) {
  for (const std::size_t size : {std::size_t{131'072}, std::size_t{100'003}, std::size_t{700}}) {
    const auto memory = writable_memory(pattern(size, 1));
    const Buffer whole = check_write_contract(Coarse(memory), size);
    Buffer below = memory->bytes();
    for (std::byte& byte : below) byte ^= std::byte{0x55};
    EXPECT_EQ(below, whole);
  }
}

TEST_F(WriteFile, SlicesOfAHostFileInOneWrite) {
  const DevicePtr a = file("a", 300'000);
  const DevicePtr concat = make_concat({{a, 150'000, 150'000}, {a, 0, 150'000}},
                                       Error(Fault::missing, "gone"), "concat");
  const Buffer whole = check_write_contract(*concat);
  const Buffer stored = read_file(folder_ / "a");
  EXPECT_TRUE(std::equal(whole.begin() + 150'000, whole.end(), stored.begin()));
}

TEST(Write, WhatIsReadOnlySaysWhy) {
  const auto memory = std::make_shared<MemoryDevice>(Buffer(1000));
  const auto error_of = [](const BlockDevice& device) {
    try {
      write(device, 0, Buffer(1));
    } catch (const Error& error) {
      EXPECT_EQ(error.error_number(), EROFS);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(error_of(*memory), "memory is read-only");
  const DevicePtr floor = make_read_only(writable_memory(Buffer(1000)), "half of it is gone");
  EXPECT_EQ(read_bytes(*floor, 0, 1000), Buffer(1000));
  EXPECT_EQ(error_of(*make_slice(floor, 0, 10, "slice")),
            "slice is read-only (found half of it is gone)");
  const DevicePtr concat = make_concat({{writable_memory(Buffer(9)), 0, 9}, {floor, 0, 9}},
                                       Error(Fault::missing, "gone"), "concat");
  EXPECT_EQ(error_of(*concat), "concat is read-only (found half of it is gone)");
  EXPECT_THROW(zero(*concat, 0, 1, WriteKind::discard), Error);
  EXPECT_THROW(write(*writable_memory(Buffer(9)), 5, Buffer(5)), Error);
}

/// Reads as zero, and cannot hold anything else.
class Hole : public BlockDevice {
 public:
  Hole() : BlockDevice(4096) {}
  Extent map(std::uint64_t, std::uint64_t length) const override { return Extent::zeroes(length); }
  bool writable() const noexcept override { return true; }
  std::string describe() const override { return "hole"; }
};

TEST(Write, BytesWithoutAPlaceAreNoSpaceAndZeroesNeedNone) {
  const Hole hole;
  EXPECT_NO_THROW(zero(hole, 10, 4000, WriteKind::zeroes));
  EXPECT_NO_THROW(zero(hole, 10, 4000, WriteKind::discard));
  try {
    write(hole, 0, Buffer(1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.error_number(), ENOSPC);
  }
}

/// Fails to flush when told to, and counts.
class Flushed : public MemoryDevice {
 public:
  explicit Flushed(bool fails)
      : MemoryDevice(Buffer(512), 512, Access::read_write), fails_(fails) {}
  void flush() const override {
    MemoryDevice::flush();
    if (fails_) throw Error(Fault::io, "lost").with_errno(EIO);
  }

 private:
  const bool fails_;
};

TEST(Write, FlushReachesEveryPieceAndNoErrorIsLost) {
  const auto bad = std::make_shared<Flushed>(true), good = std::make_shared<Flushed>(false);
  const DevicePtr concat =
      make_concat({{bad, 0, 512}, {good, 0, 512}}, Error(Fault::missing, "gone"), "concat");
  EXPECT_THROW(make_slice(concat, 0, 100, "slice")->flush(), Error);
  EXPECT_EQ(good->flushes(), 1U);
}

}  // namespace
}  // namespace peelfs::test
