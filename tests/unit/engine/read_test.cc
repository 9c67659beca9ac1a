// The read loop over devices made for the purpose.
#include <gtest/gtest.h>

#include <cstring>

#include "peelfs/devices.h"
#include "peelfs/error.h"
#include "peelfs/host_file.h"
#include "support/support.h"

namespace peelfs {
namespace {

using test::MemoryDevice;

/// Works only in whole granules, like encryption, and says so when it is asked for less.
class GranularDevice : public BlockDevice {
 public:
  GranularDevice(Buffer bytes, std::uint32_t granule)
      : BlockDevice(bytes.size()), bytes_(std::move(bytes)), granule_(granule) {}
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  std::uint32_t granule() const noexcept override { return granule_; }
  void compute(std::uint64_t offset, MutableBytes out) const override {
    const std::uint64_t end = offset + out.size();
    if (offset % granule_ != 0 || (end % granule_ != 0 && end != size())) {
      throw Error(Fault::io, "asked for part of a granule");
    }
    std::memcpy(out.data(), bytes_.data() + offset, out.size());
  }
  std::string describe() const override { return "granular"; }

 private:
  Buffer bytes_;
  std::uint32_t granule_;
};

/// Interleaves chunks of several files: the shape of striping.
class Stripes : public BlockDevice {
 public:
  Stripes(std::vector<DevicePtr> legs, std::uint64_t chunk)
      : BlockDevice(legs.size() * legs.front()->size()), legs_(std::move(legs)), chunk_(chunk) {}
  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    const std::uint64_t number = offset / chunk_;
    const std::uint64_t within = offset % chunk_;
    return Extent::in_device(*legs_[number % legs_.size()], number / legs_.size() * chunk_ + within,
                             std::min(length, chunk_ - within));
  }
  std::string describe() const override { return "stripes"; }

 private:
  std::vector<DevicePtr> legs_;
  std::uint64_t chunk_;
};

/// Gives the answers that a test sets.
class Liar : public BlockDevice {
 public:
  Liar(Extent answer, std::uint64_t size) : BlockDevice(size), answer_(answer) {}
  Extent map(std::uint64_t, std::uint64_t) const override { return answer_; }
  std::string describe() const override { return "liar"; }

 private:
  Extent answer_;
};

TEST(ReadLoop, UnalignedReadsOfGranules) {
  for (const std::size_t size : {4096 * 3, 4096 * 3 + 512, 100}) {
    for (const std::uint32_t granule : {512U, 4096U}) {
      SCOPED_TRACE(std::to_string(size) + " bytes in granules of " + std::to_string(granule));
      test::check_contract(GranularDevice(test::pattern(size, 1), granule));
    }
  }
}

TEST(ReadLoop, EveryRangeOfASmallDevice) {
  const Buffer bytes = test::pattern(23, 7);
  const GranularDevice device(bytes, 4);
  for (std::size_t begin = 0; begin <= bytes.size(); ++begin) {
    for (std::size_t end = begin; end <= bytes.size(); ++end) {
      Buffer out(end - begin);
      read(device, begin, out);
      ASSERT_TRUE(std::equal(out.begin(), out.end(), bytes.begin() + static_cast<long>(begin)));
    }
  }
}

TEST(ReadLoop, OutsideOfTheDeviceIsRefused) {
  const MemoryDevice device(Buffer(100));
  EXPECT_THROW((void)read_bytes(device, 100, 1), Error);
  EXPECT_THROW((void)read_bytes(device, 101, 0), Error);
  EXPECT_THROW((void)read_bytes(device, ~0ULL, 2), Error);
  EXPECT_TRUE(read_bytes(device, 100, 0).empty());
  EXPECT_EQ(read_up_to(device, 90, 100).size(), 10U);
  EXPECT_TRUE(read_up_to(device, 200, 100).empty());
}

TEST(ReadLoop, StripesOverFilesGather) {
  const test::TemporaryDirectory directory;
  std::vector<DevicePtr> legs;
  std::vector<Buffer> contents;
  for (int i = 0; i < 3; ++i) {
    contents.push_back(test::pattern(1 << 20, 10 + i));
    test::write_file(directory / std::to_string(i), contents.back());
    legs.push_back(test::file_device(directory / std::to_string(i)));
  }
  // Chunks so small that one read has far more buffers than one preadv takes.
  for (const std::uint64_t chunk : {512U, 4096U, 65536U}) {
    const Stripes device(legs, chunk);
    test::check_contract(device);
    Buffer whole(device.size());
    read(device, 0, whole);
    for (std::uint64_t at = 0; at < whole.size(); at += chunk) {
      const std::uint64_t number = at / chunk;
      ASSERT_EQ(
          std::memcmp(whole.data() + at, contents[number % 3].data() + number / 3 * chunk, chunk),
          0)
          << at;
    }
  }
}

TEST(ReadLoop, MoreFilesThanOpenRuns) {
  const test::TemporaryDirectory directory;
  std::vector<DevicePtr> legs;
  Buffer expected;
  std::vector<Buffer> contents;
  for (int i = 0; i < 20; ++i) {
    contents.push_back(test::pattern(64 * 512, 100 + i));
    test::write_file(directory / std::to_string(i), contents.back());
    legs.push_back(test::file_device(directory / std::to_string(i)));
  }
  for (std::size_t chunk = 0; chunk < 64; ++chunk) {
    for (const Buffer& content : contents) {
      expected.insert(expected.end(), content.begin() + static_cast<long>(chunk * 512),
                      content.begin() + static_cast<long>(chunk * 512 + 512));
    }
  }
  const Stripes device(legs, 512);
  EXPECT_EQ(read_bytes(device, 0, device.size()), expected);
}

TEST(ReadLoop, AnswersOutsideOfTheLowerDeviceAreErrors) {
  const MemoryDevice lower(Buffer(1000));
  for (const Extent& answer :
       {Extent::in_device(lower, 990, 11), Extent::in_device(lower, 1001, 1),
        Extent::in_device(lower, ~0ULL, 2), Extent::zeroes(0), Extent::zeroes(5000),
        Extent{ExtentKind::lower, 1, 0, nullptr, nullptr}}) {
    EXPECT_THROW((void)read_bytes(Liar(answer, 100), 0, 20), Error);
    EXPECT_THROW((void)block_status(Liar(answer, 100), 0, 20), Error);
  }
}

TEST(ReadLoop, EndlessLayersEnd) {
  class Endless : public BlockDevice {
   public:
    Endless() : BlockDevice(100) {}
    Extent map(std::uint64_t offset, std::uint64_t length) const override {
      return Extent::in_device(*this, offset, length);
    }
    std::string describe() const override { return "endless"; }
  };
  EXPECT_THROW((void)read_bytes(Endless(), 0, 1), Error);
}

TEST(ReadLoop, ErrorsCarryTheLayersPassed) {
  const DevicePtr locked = make_unreadable(4096, Error(Fault::locked, "no key"), "LV vg/lv");
  const DevicePtr part = make_slice(locked, 0, 4096, "partition 1");
  try {
    (void)read_bytes(*part, 0, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "partition 1: LV vg/lv: no key");
    EXPECT_EQ(error.fault(), Fault::locked);
    EXPECT_EQ(error.error_number(), EIO);
  }
}

TEST(BlockStatus, HolesOfAFileAreSeenThroughSlices) {
  const test::TemporaryDirectory directory;
  const std::string path = directory / "sparse";
  test::must_run("truncate -s 8M " + path + " && printf x | dd of=" + path +
                 " bs=1 seek=4194304 conv=notrunc status=none");
  const DevicePtr slice = make_slice(test::file_device(path), 1 << 20, 6 << 20, "slice");
  const peelfs::Run hole = block_status(*slice, 0, slice->size());
  EXPECT_FALSE(hole.data);
  EXPECT_EQ(hole.length, 3U << 20U);
  const peelfs::Run data = block_status(*slice, hole.length, slice->size() - hole.length);
  EXPECT_TRUE(data.data);
  EXPECT_LE(data.length, 65536U);
  EXPECT_LE(slice->allocated_bytes(), 65536U);
  test::check_contract(*slice);
}

TEST(Devices, SliceMustLieInside) {
  const auto lower = std::make_shared<MemoryDevice>(Buffer(1000));
  EXPECT_THROW((void)make_slice(lower, 900, 101, "partition 1"), Error);
  EXPECT_THROW((void)make_slice(lower, ~0ULL, 2, "partition 1"), Error);
  EXPECT_EQ(make_slice(lower, 1000, 0, "empty")->size(), 0U);
}

TEST(Devices, ConcatOfManyPieces) {
  const Buffer bytes = test::pattern(1 << 20, 3);
  const auto lower = std::make_shared<MemoryDevice>(bytes);
  std::vector<Piece> pieces;
  Buffer expected;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const std::uint64_t offset = i * 7919 % (1 << 19);
    const std::uint64_t length = i % 700;  // also empty ones
    pieces.push_back({lower, offset, length});
    expected.insert(expected.end(), bytes.begin() + static_cast<long>(offset),
                    bytes.begin() + static_cast<long>(offset + length));
  }
  const DevicePtr device = make_concat(pieces, Error(Fault::missing, "gone"), "LV");
  ASSERT_EQ(device->size(), expected.size());
  EXPECT_EQ(read_bytes(*device, 0, expected.size()), expected);
  test::check_contract(*device);
}

TEST(Devices, MissingPieceFailsOnlyItself) {
  const auto lower = std::make_shared<MemoryDevice>(test::pattern(1000, 4));
  const DevicePtr device = make_concat({{lower, 0, 500}, {nullptr, 0, 500}, {lower, 500, 500}},
                                       Error(Fault::missing, "PV b is not here"), "LV");
  EXPECT_EQ(read_bytes(*device, 0, 500), read_bytes(*lower, 0, 500));
  EXPECT_EQ(read_bytes(*device, 1000, 500), read_bytes(*lower, 500, 500));
  EXPECT_THROW((void)read_bytes(*device, 499, 2), Error);
  EXPECT_THROW((void)make_concat({{lower, 600, 500}}, Error(Fault::missing, ""), "LV"), Error);
}

}  // namespace
}  // namespace peelfs
