// The contract for reads that every type of device keeps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <thread>

#include "support/support.h"

namespace peelfs::test {

namespace {

Buffer read_whole(const BlockDevice& device) {
  Buffer whole(device.size());
  constexpr std::size_t step = 1U << 20U;
  for (std::size_t at = 0; at < whole.size(); at += step) {
    read(device, at, MutableBytes(whole).subspan(at, std::min(step, whole.size() - at)));
  }
  return whole;
}

bool all_zero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](std::byte byte) { return byte == std::byte{0}; });
}

/// @return "" or what differs
std::string compare_random_reads(const BlockDevice& device, Bytes whole, std::uint64_t seed,
                                 int rounds) {
  std::mt19937_64 random(seed);
  Buffer buffer;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t offset = random() % whole.size();
    // Mostly short and unaligned, sometimes long: both ends of what callers do.
    const std::uint64_t most = round % 8 == 0 ? 300'000 : round % 3 == 0 ? 5'000 : 600;
    const std::uint64_t length =
        std::min<std::uint64_t>(1 + random() % most, whole.size() - offset);
    buffer.assign(length, std::byte{0xa5});
    read(device, offset, buffer);
    if (std::memcmp(buffer.data(), whole.data() + offset, length) != 0) {
      return std::to_string(length) + " bytes at " + std::to_string(offset) +
             " differ from those of a read of the whole";
    }
  }
  return "";
}

void check_bytewise(const BlockDevice& device, Bytes whole, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int round = 0; round < 64; ++round) {
    const std::uint64_t begin = round == 0 ? 0 : random() % whole.size();
    const std::uint64_t end = std::min<std::uint64_t>(begin + 40, whole.size());
    for (std::uint64_t at = begin; at < end; ++at) {
      std::byte byte{0xa5};
      read(device, at, {&byte, 1});
      ASSERT_EQ(byte, whole[at]) << device.describe() << ": the byte at " << at;
    }
  }
}

void check_tiling(const BlockDevice& device, Bytes whole, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uint64_t steps = 0;
  for (std::uint64_t at = 0; at < whole.size();) {
    const std::uint64_t asked = std::min<std::uint64_t>(
        ++steps % 4 == 0 ? 1 + random() % 100'000 : whole.size(), whole.size() - at);
    const Extent extent = device.map(at, asked);
    ASSERT_GE(extent.length, 1U) << device.describe() << " at " << at;
    ASSERT_LE(extent.length, asked) << device.describe() << " at " << at;
    const Run run = block_status(device, at, asked);
    ASSERT_GE(run.length, 1U);
    ASSERT_LE(run.length, asked);
    if (!run.data) {
      ASSERT_TRUE(all_zero(whole.subspan(at, run.length)))
          << device.describe() << " calls data a hole at " << at;
    }
    at += extent.length;
  }
}

}  // namespace

void check_contract(const BlockDevice& device, std::uint64_t seed) {
  ASSERT_LE(device.size(), 256U << 20U);
  ASSERT_THROW(read_bytes(device, device.size(), 1), Error);
  if (device.size() == 0) return;
  const Buffer whole = read_whole(device);
  check_bytewise(device, whole, seed);
  check_tiling(device, whole, seed);
  EXPECT_EQ(compare_random_reads(device, whole, seed, 400), "") << device.describe();

  std::vector<std::thread> readers;
  std::vector<std::string> differences(8);
  for (std::size_t i = 0; i < differences.size(); ++i) {
    readers.emplace_back([&, i] {
      try {
        differences[i] = compare_random_reads(device, whole, seed + 17 * (i + 1), 100);
      } catch (const std::exception& error) {
        differences[i] = error.what();
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  for (const std::string& difference : differences) EXPECT_EQ(difference, "") << device.describe();
}

}  // namespace peelfs::test
