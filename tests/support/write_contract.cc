// The contract for writes that every type of writable device keeps.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>

#include "support/support.h"

namespace peelfs::test {

namespace {

/// The device as a plain array, with what each byte was before the write that is under way.
struct Model {
  Buffer now, before;
  std::uint64_t begun = 0;  ///< how many writes
  std::mutex mutex;         ///< guards the arrays; the device is written outside of it
};

struct Change {
  std::uint64_t offset = 0;
  Buffer bytes;
  std::optional<WriteKind> zero;  ///< none: bytes
};

Change random_change(std::mt19937_64& random, const BlockDevice& device) {
  Change change;
  const std::uint64_t unit = random() % 3 == 0   ? device.write_granule()
                             : random() % 3 == 0 ? 512
                                                 : 1;
  const std::uint64_t most = random() % 16 == 0 ? 400'000 : random() % 3 == 0 ? 9'000 : 700;
  change.offset = random() % device.size() / unit * unit;
  const std::uint64_t length =
      std::min<std::uint64_t>(round_up(1 + random() % most, unit), device.size() - change.offset);
  if (random() % 4 == 0) {
    change.bytes.assign(length, std::byte{0});
    change.zero = random() % 2 == 0 ? WriteKind::zeroes : WriteKind::discard;
  } else {
    change.bytes = pattern(length, random());
  }
  return change;
}

void apply(const BlockDevice& device, const Change& change) {
  if (change.zero) {
    try {
      zero(device, change.offset, change.bytes.size(), *change.zero);
      return;
    } catch (const Error& error) {
      if (error.error_number() != EOPNOTSUPP) throw;
    }
  }
  write(device, change.offset, change.bytes);
}

/// "" or what differs. Every byte must be the old or the new one.
std::string read_beside_writes(const BlockDevice& device, Model& model, std::uint64_t seed,
                               const std::atomic<bool>& done) {
  std::mt19937_64 random(seed);
  for (int round = 0; !done || round < 10; ++round) {
    const std::uint64_t offset = random() % model.now.size();
    Buffer bytes(std::min<std::uint64_t>(1 + random() % 5000, model.now.size() - offset));
    const auto part = [&](const Buffer& whole) {
      const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(offset);
      return Buffer(begin, begin + static_cast<std::ptrdiff_t>(bytes.size()));
    };
    Buffer old_before, old_now, new_before, new_now;
    std::uint64_t begun = 0;
    {
      const std::lock_guard lock(model.mutex);
      begun = model.begun;
      old_before = part(model.before);
      old_now = part(model.now);
    }
    read(device, offset, bytes);
    {
      const std::lock_guard lock(model.mutex);
      new_before = part(model.before);
      new_now = part(model.now);
      // If more than one write began meanwhile, the right bytes are not known.
      if (model.begun - begun > 1) continue;
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] == old_before[i] || bytes[i] == old_now[i] || bytes[i] == new_now[i] ||
          bytes[i] == new_before[i]) {
        continue;
      }
      return "a reader saw neither the old nor the new byte at " + std::to_string(offset + i);
    }
  }
  return "";
}

void check_against_model(const BlockDevice& device, Model& model, std::uint64_t seed) {
  std::atomic<bool> done = false;
  std::vector<std::string> differences(2);
  std::vector<std::thread> readers;
  for (std::size_t i = 0; i < differences.size(); ++i) {
    readers.emplace_back([&, i] {
      try {
        differences[i] = read_beside_writes(device, model, seed + i + 1, done);
      } catch (const std::exception& error) {
        differences[i] = error.what();
      }
    });
  }
  std::mt19937_64 random(seed);
  std::string failure;
  try {
    for (int round = 0; round < 1000; ++round) {
      const Change change = random_change(random, device);
      const auto copy_to = [&](Buffer& whole) {
        std::memcpy(whole.data() + change.offset, change.bytes.data(), change.bytes.size());
      };
      {
        const std::lock_guard lock(model.mutex);
        ++model.begun;
        copy_to(model.now);
      }
      apply(device, change);
      {
        const std::lock_guard lock(model.mutex);
        copy_to(model.before);
      }
      if (round % 100 == 99) device.flush();
    }
  } catch (const std::exception& error) {
    failure = error.what();
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(failure, "") << device.describe();
  for (const std::string& difference : differences) EXPECT_EQ(difference, "") << device.describe();
}

/// Each thread owns every fourth byte of a range, and writes them one by one.
void check_neighbours(const BlockDevice& device, Model& model, std::uint64_t seed) {
  constexpr std::size_t threads = 4;
  const std::uint64_t length = std::min<std::uint64_t>(512, device.size());
  const std::uint64_t begin = (device.size() - length) / 2;
  std::vector<std::thread> writers;
  std::vector<std::string> failures(threads);
  const Buffer bytes = pattern(length, seed + 99);
  for (std::size_t own = 0; own < threads; ++own) {
    writers.emplace_back([&, own] {
      try {
        for (std::size_t i = own; i < length; i += threads) {
          write(device, begin + i, Bytes(bytes).subspan(i, 1));
        }
      } catch (const std::exception& error) {
        failures[own] = error.what();
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  for (const std::string& failure : failures) EXPECT_EQ(failure, "") << device.describe();
  std::memcpy(model.now.data() + begin, bytes.data(), length);
}

}  // namespace

Buffer check_write_contract(const BlockDevice& device, std::uint64_t seed) {
  EXPECT_TRUE(device.writable()) << device.describe() << ": " << device.read_only_reason();
  EXPECT_LE(device.size(), 64U << 20U);
  if (!device.writable() || device.size() == 0) return {};
  EXPECT_THROW(write(device, device.size(), Buffer(1)), Error);
  Model model;
  model.now = read_bytes(device, 0, device.size());
  model.before = model.now;
  check_against_model(device, model, seed);
  check_neighbours(device, model, seed);
  device.flush();
  const Buffer whole = read_bytes(device, 0, device.size());
  const auto differs = std::mismatch(whole.begin(), whole.end(), model.now.begin());
  EXPECT_TRUE(differs.first == whole.end())
      << device.describe() << ": byte " << differs.first - whole.begin() << " is wrong";
  return whole;
}

}  // namespace peelfs::test
